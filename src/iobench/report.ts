/** A sweep for people: a table per backend on a terminal, the same in Markdown, one row per cell in CSV. */
import type { Drive, ReadCell } from '../../ts/engine/index.js'
import { bytes, duration, percent, rate, table } from '../format.js'
import { printable } from '../terminal.js'
import { labelOf, sizeLabel, type SweepResult } from './sweep.js'
import { fastestCell, type Verdict } from './verdict.js'

export interface Report {
  readonly path: string
  readonly fileBytes: number
  readonly drive: Drive
  readonly seed: number
  /** Measured although the file is not on a local drive. */
  readonly forced: boolean
  readonly result: SweepResult
  readonly verdict: Verdict
  /** Where the profile was written; undefined when it was not, for the reason below. */
  readonly savedTo: string | undefined
  readonly notSavedBecause: string | undefined
}

const labelWidth = 10

export function humanText(report: Report): string {
  return [
    subject(report),
    '',
    ...grids(report).flatMap(({ title, rows }) => [title, table(rows), '']),
    legend(report),
    '',
    ...summary(report).map(([label, value]) => `${label.padEnd(labelWidth)}${value}`),
  ].join('\n')
}

export function markdownText(report: Report): string {
  const row = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const lines = grids(report).flatMap(({ title, rows: [head, ...rows] }) => [`**${title}**`, '', row(head!), row(head!.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(row), ''])
  return [subject(report), '', ...lines, legend(report), '', row(['', '']), row(['---', '---']), ...summary(report).map(row)].join('\n')
}

const csvColumns: readonly (readonly [string, (cell: ReadCell) => string | number | boolean | undefined])[] = [
  ['backend', ({ backend }) => backend], ['direct', ({ direct }) => direct], ['block_bytes', ({ blockBytes }) => blockBytes], ['depth', ({ depth }) => depth],
  ['bytes', (cell) => cell.bytes], ['seconds', ({ seconds }) => seconds], ['bytes_per_second', ({ bytesPerSecond }) => bytesPerSecond],
  ['latency_p50_ms', ({ latencyMs }) => latencyMs.p50], ['latency_p99_ms', ({ latencyMs }) => latencyMs.p99], ['latency_max_ms', ({ latencyMs }) => latencyMs.max],
  ['cpu_share', ({ cpuShare }) => cpuShare], ['os_bytes', ({ osBytes }) => osBytes], ['huge_page_share', ({ hugePageShare }) => hugePageShare],
  ['repeated_share', ({ repeatedShare }) => repeatedShare], ['cached', ({ cached }) => cached],
]

/** Every measurement, also the passes of the duel: `pass` says which it was. */
export function csvText({ result }: Report): string {
  const { lone, own, cells, rival } = result
  const line = (pass: string) => (cell: ReadCell): string => [pass, ...csvColumns.map(([, value]) => String(value(cell) ?? ''))].join(',')
  const swept = cells.filter((cell) => !own.includes(cell))
  return [['pass', ...csvColumns.map(([name]) => name)].join(','), ...own.map(line('own')), line('lone')(lone), ...swept.map(line('sweep')), ...rival.map(line('rival'))].join('\n')
}

export function jsonValue(report: Report): unknown {
  const { path, fileBytes, drive, seed, forced, result, verdict } = report
  const cell = (of: ReadCell): unknown => ({
    backend: of.backend, direct: of.direct, direct_reason: of.directReason, block_bytes: of.blockBytes, depth: of.depth, bytes: of.bytes, seconds: of.seconds,
    bytes_per_second: of.bytesPerSecond, latency_ms: of.latencyMs, cpu_share: of.cpuShare, os_bytes: of.osBytes ?? null, cache_served_share: of.cacheServedShare ?? null,
    huge_page_share: of.hugePageShare, repeated_share: of.repeatedShare, cached: of.cached,
  })
  return {
    schema: 1,
    path,
    file_bytes: fileBytes,
    drive: {
      name: drive.name, kind: drive.kind, file_system: drive.fileSystem ?? null, model: drive.model ?? null, firmware: drive.firmware ?? null,
      rotational: drive.rotational ?? null, size_bytes: drive.sizeBytes ?? null, reason: drive.reason,
    },
    forced,
    seed,
    cells: result.cells.map(cell),
    own: { ...(cell(verdict.own) as object), passes: result.own.map(cell) },
    rival: result.rival.map(cell),
    lone: cell(result.lone),
    best: cell(verdict.best),
    own_share_of_best: verdict.share,
    verdict: verdict.text,
    doubts: verdict.doubts,
    saved_to: report.savedTo ?? null,
    not_saved_because: report.notSavedBecause ?? null,
  }
}

function subject({ path, fileBytes, drive, forced }: Report): string {
  const what = [drive.model, drive.fileSystem].filter((word) => word !== undefined).join(', ')
  return printable(`${path}: ${bytes(fileBytes)} on ${drive.name}${what === '' ? '' : ` (${what})`}${forced ? ` · not a local drive: ${drive.kind}` : ''}`)
}

const gigabytes = (cell: ReadCell): string => `${rate(cell.bytesPerSecond / 1e9)} GB/s`

/** One per backend: blocks down, depths across, GB/s. */
function grids({ result, verdict }: Report): { title: string; rows: string[][] }[] {
  const { cells } = result
  const fastest = fastestCell(result)
  const distinct = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b)
  return [...new Set(cells.map(({ backend }) => backend))].map((backend) => {
    const mine = cells.filter((cell) => cell.backend === backend)
    const depths = distinct(mine.map(({ depth }) => depth))
    const show = (cell: ReadCell | undefined): string => {
      if (cell === undefined) return '-'
      const marks = `${cell === verdict.own ? 'e' : ''}${cell === fastest ? '*' : ''}${cell.cached ? 'c' : ''}${cell.repeatedShare > 0.5 ? 'r' : ''}`
      return `${marks === '' ? '' : `${marks} `}${rate(cell.bytesPerSecond / 1e9)}`
    }
    return {
      title: `${backend}, ${mine.every(({ direct }) => direct) ? 'direct' : 'through the page cache'}, GB/s`,
      rows: [
        ['block', ...depths.map((depth) => `depth ${depth}`)],
        ...distinct(mine.map(({ blockBytes }) => blockBytes)).map((size) => [sizeLabel(size), ...depths.map((depth) => show(mine.find((cell) => cell.blockBytes === size && cell.depth === depth)))]),
      ],
    }
  })
}

function legend({ result, verdict }: Report): string {
  const marks = [['e', 'the engine\'s own way, median of its passes'], ['*', 'fastest single cell'], ['c', 'served by the page cache'], ['r', 'read before']] as const
  const { cells } = result
  const used: Readonly<Record<string, boolean>> = {
    e: cells.includes(verdict.own), '*': fastestCell(result) !== undefined, c: cells.some(({ cached }) => cached), r: cells.some(({ repeatedShare }) => repeatedShare > 0.5),
  }
  return marks.filter(([mark]) => used[mark]).map(([mark, meaning]) => `${mark} ${meaning}`).join(' · ')
}

function summary({ result, verdict, savedTo, notSavedBecause, drive }: Report): [string, string][] {
  const { own, best, text, doubts } = verdict
  const passes = result.own.map(({ bytesPerSecond }) => bytesPerSecond)
  return [
    ['own way', `${labelOf(own)}: ${gigabytes(own)} (first pass ${rate(passes[0]! / 1e9)}, best ${rate(Math.max(...passes) / 1e9)}), ${percent(own.cpuShare)} of a core`],
    ['latency', `of its blocks ${duration(own.latencyMs.p50)}, one in a hundred ${duration(own.latencyMs.p99)}; of one page alone ${duration(result.lone.latencyMs.p50)}`],
    ['best', `${labelOf(best)}: ${gigabytes(best)}`],
    ['verdict', text],
    ...doubts.map((doubt): [string, string] => ['doubt', printable(doubt)]),
    ['profile', savedTo === undefined ? `not saved: ${notSavedBecause ?? 'no reason'}` : `saved for ${drive.name}: hypura plan and run use it (${printable(savedTo)})`],
  ]
}
