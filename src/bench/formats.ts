/** Rows as people and programs read them: llama-bench's columns first, then ours. */
import { bytes, count, duration, percent, rate, table } from '../format.js'
import type { BenchRun } from './run-bench.js'
import type { Row } from './rows.js'

const headings = ['model', 'size', 'params', 'backend', 'threads', 'test', 't/s', 'mode', 'budget', 'hit %', 'GiB/tok', 'GB/s', '% of bound', 'stall %'] as const
const absent = '-'

export function markdown(rows: readonly Row[]): string {
  const cells = tableOf(rows)
  const widths = headings.map((heading, i) => Math.max(heading.length, ...cells.map((row) => row[i]!.length)))
  const isLeft = (i: number): boolean => i === 0 || headings[i] === 'backend' || headings[i] === 'mode'
  const line = (row: readonly string[]): string => `| ${row.map((cell, i) => (isLeft(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const rule = `| ${widths.map((width, i) => (isLeft(i) ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return `${[line(headings), rule, ...cells.map(line)].join('\n')}\n\n${footnote}\n`
}

const footnote = 'Sampling is inside the clock, tokenising is not. hit %: of mixtures, experts alone. GiB/tok: read by the engine.'

export function csv(rows: readonly Row[]): string {
  const flat = rows.map(({ hypura, ...fields }) => ({ ...scalars(fields), ...Object.fromEntries(Object.entries(scalars(hypura)).map(([key, value]) => [`hypura_${key}`, value])) }))
  const names = Object.keys(flat[0] ?? {})
  const cell = (value: unknown): string => `"${String(value ?? '').replaceAll('"', '""')}"`
  return `${[names.join(','), ...flat.map((row) => names.map((name) => cell((row as Record<string, unknown>)[name])).join(','))].join('\n')}\n`
}

const scalars = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> => Object.fromEntries(Object.entries(fields).filter(([, value]) => value === null || typeof value !== 'object'))

export function human(rows: readonly Row[], run: BenchRun): string {
  const first = rows[0]
  return `${[table([[...headings], ...tableOf(rows)]), '', ...(first === undefined ? [] : details(first, rows, run))].join('\n')}\n`
}

/** One line per test, and one per test of the peer. */
function tableOf(rows: readonly Row[]): string[][] {
  return rows.flatMap((row) => {
    const own = row.hypura
    const start = [String(row['model_type']), gib(row['model_size']), count(number(row['model_n_params'])!), String(row['backends']), String(row['n_threads']), String(own['test'])]
    const isDecode = number(row['n_gen'])! > 0
    const line = [
      ...start, `${rate(number(row['avg_ts'])!)} ± ${number(row['stddev_ts'])!.toFixed(2)}`, String(own['mode']), bytes(number(own['memory_bytes'])!),
      shown(own['expert_hit_rate'] ?? own['hit_rate'], (value) => (value * 100).toFixed(0)),
      shown(own['bytes_per_token'], (value) => (value / 2 ** 30).toFixed(value < 2 ** 27 ? 4 : 2)), shown(own['disk_gb_s'], (value) => value.toFixed(2)),
      shown(own[isDecode ? 'tg_bound_pct' : 'pp_bound_pct'], (value) => value.toFixed(0)), shown(own['stall_pct'], (value) => value.toFixed(0)),
    ]
    const baseline = own['baseline'] as Readonly<Record<string, unknown>> | null
    if (baseline === null) return [line]
    const speed = number(baseline['avg_ts'])
    const ended = (baseline['runs'] as readonly { outcome: string }[]).find(({ outcome }) => outcome !== 'done')?.outcome
    return [line, [...start, speed === undefined ? ended ?? absent : rate(speed), `${String(baseline['peer'])} mmap`, ...Array<string>(6).fill(absent)]]
  })
}

function details(first: Row, rows: readonly Row[], run: BenchRun): string[] {
  const own = first.hypura
  const { cold, warmup } = run.session
  const { bandwidth, agreement } = run
  return [
    `cold       ${duration(cold.loadMs)} to load ${bytes(cold.loadBytes)}, ${duration(cold.firstTokenMs)} to the first token behind ${cold.promptTokens} (pages of the file ${cold.pages.dropped ? 'dropped' : 'not dropped'}: ${cold.pages.reason})`,
    ...(warmup.tokens === 0 ? [] : [`warm-up    ${warmup.tokens} tokens, ${rate((warmup.tokens * 1000) / warmup.counted.ms)} tok/s`]),
    ...rows.flatMap((row) => steadyLine(row)),
    ...rows.flatMap((row) => boundLine(row)),
    ...guessLine(own['guesses']),
    `drive      ${bandwidth.bytesPerSecond === undefined ? `not measured: ${bandwidth.reason ?? 'no measurement'}` : `${rate(bandwidth.bytesPerSecond / 1e9)} GB/s for reads like the engine's (${bandwidth.samples.map((sample) => rate(sample / 1e9)).join(', ')}) · ${String(own['drive'])}`}`,
    `answers    ${agreement === undefined ? 'not compared' : `${agreement.comparisons} compared, ${agreement.tokens} tokens, all equal; resident: ${agreement.resident}`}`,
    `memory     peak of the process ${bytes(run.session.peaks.processBytes)}${run.session.peaks.groupBytes === null ? '' : `, of its cgroup ${bytes(run.session.peaks.groupBytes)}`}${number(own['oom_kills']) === undefined ? '' : `, ${String(own['oom_kills'])} killed for memory`}`,
    ...(own['wear'] as { lines?: readonly string[] } | null)?.lines?.map((line, i) => `${i === 0 ? 'wear' : '    '}       ${line}`) ?? [],
    `energy     ${energyText(own['energy'])}`,
    ...rows.flatMap((row) => baselineLines(row)),
  ]
}

function steadyLine({ hypura }: Row): string[] {
  const steady = (hypura['phases'] as { steady: Readonly<Record<string, number | null>> | null }).steady
  if (steady === null) return []
  return [`steady     ${String(hypura['test'])}: ${rate(steady['tok_s']!)} tok/s over the last ${steady['tokens']} tokens (p10 ${rate(steady['p10'] ?? 0)}, p50 ${rate(steady['p50'] ?? 0)}, p90 ${rate(steady['p90'] ?? 0)}) · per token ${bytes(steady['bytes_per_token']!)} by the engine${typeof steady['os_bytes_per_token'] === 'number' ? `, ${bytes(steady['os_bytes_per_token'])} by the system` : ''}, stalled ${duration(steady['stall_ms_per_token']!)}${typeof steady['device_busy_pct'] === 'number' ? ` · drive busy ${steady['device_busy_pct'].toFixed(0)} %` : ''}`]
}

function boundLine({ hypura, ...row }: Row): string[] {
  const side = number(row['n_gen'])! > 0 ? 'tg' : 'pp'
  const bound = number(hypura[`${side}_bound_tok_s`])
  const name = String(hypura['test'])
  if (bound === undefined) return [`bound      ${name}: not known (${String(hypura['bound_reason'])})`]
  return [`bound      ${name}: ${rate(bound)} tok/s, ${hypura[`${side}_bound_side`] === 'disk' ? 'disk bound' : 'compute bound'}; reached ${percent(number(hypura[`${side}_bound_pct`])! / 100)}`]
}

function guessLine(guesses: unknown): string[] {
  if (guesses === null || guesses === undefined) return []
  const { acting, decided, scores } = guesses as { acting: string; decided: string | null; scores: readonly { name: string; recall_of_absent: number | null }[] }
  const found = scores.map(({ name, recall_of_absent: recall }) => `${name} ${recall === null ? absent : percent(recall)}`)
  return [`guesses    at the end: ${acting}${decided === null ? '' : `; the last trial came to: ${decided}`}${found.length === 0 ? '' : `; of what had to be read, named by ${found.join(', ')}`}`]
}

function baselineLines({ hypura, ...row }: Row): string[] {
  const baseline = hypura['baseline'] as Readonly<Record<string, unknown>> | null
  if (baseline === null) return []
  const ratio = number(baseline['ratio'])
  const failed = (baseline['runs'] as readonly { outcome: string; reason: string }[]).find(({ outcome }) => outcome !== 'done')
  const result = ratio === undefined ? `${failed?.outcome ?? 'nothing'}: ${failed?.reason ?? 'no figures'}` : `${rate(number(baseline['avg_ts'])!)} tok/s; hypura is ${rate(ratio)} times as fast${failed === undefined ? '' : ` (some of its runs: ${failed.outcome}, ${failed.reason})`}`
  return [`baseline   ${String(hypura['test'])}, ${String(row['n_threads'])} threads: ${String(baseline['peer'])} ${String(baseline['version'])}, ${String(baseline['weights'])}: ${result}`]
}

function energyText(energy: unknown): string {
  const { joules_per_token: joules, source, reason } = (energy ?? {}) as { joules_per_token?: number | null; source?: string; reason?: string }
  return typeof joules === 'number' ? `${rate(joules)} J per token (${source})` : `not available: ${reason ?? 'no counter'}`
}

const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)
const shown = (value: unknown, show: (value: number) => string): string => (typeof value === 'number' ? show(value) : absent)
const gib = (value: unknown): string => `${(number(value)! / 2 ** 30).toFixed(2)} GiB`
