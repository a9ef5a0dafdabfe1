/** What `hypura iobench` prints: a table for people, the cells as JSON, Markdown or CSV for programs. */
import type { DriveBench, ReadCell } from '../ts/engine/index.js'
import { bytes, percent, table } from './format.js'

const gb = (cell: Pick<ReadCell, 'bytesPerSecond'>): string => (cell.bytesPerSecond / 1e9).toFixed(2)
const way = ({ backend, direct, blockBytes, depth }: ReadCell): string => `${backend}${direct ? '' : ' (page cache)'}, ${bytes(blockBytes)}, depth ${depth}`
const marks = ({ cached }: ReadCell): string => (cached ? 'c' : '')

const columns = ['backend', 'direct', 'block_bytes', 'depth', 'gb_s', 'latency_p50_ms', 'latency_p99_ms', 'latency_max_ms', 'cpu_share', 'bytes', 'os_bytes', 'cached', 'huge_page_share'] as const

function values(cell: ReadCell): (string | number | boolean)[] {
  const { backend, direct, blockBytes, depth, latencyMs, cpuShare, osBytes, cached, hugePageShare } = cell
  const ms = (value: number): number => Number(value.toFixed(4))
  return [backend, direct, blockBytes, depth, gb(cell), ms(latencyMs.p50), ms(latencyMs.p99), ms(latencyMs.max), Number(cpuShare.toFixed(3)), cell.bytes, osBytes ?? '', cached, Number(hugePageShare.toFixed(3))]
}

const allCells = ({ cells, own }: DriveBench): readonly ReadCell[] => [...own, ...cells]

function human(path: string, result: DriveBench): string {
  const { drive, cells, own, best, fileBytes, ownBytesPerSecond, passes } = result
  const depths = [...new Set(cells.map(({ depth }) => depth))].toSorted((a, b) => a - b)
  const rows = [...new Set(cells.map(({ backend, blockBytes }) => `${backend} ${blockBytes}`))].map((key) => {
    const of = cells.filter(({ backend, blockBytes }) => `${backend} ${blockBytes}` === key)
    return [`${of[0]!.backend} ${bytes(of[0]!.blockBytes)}`, ...depths.map((depth) => {
      const cell = of.find((one) => one.depth === depth)
      return cell === undefined ? '' : `${gb(cell)}${marks(cell)}`
    })]
  })
  const spread = own.map(gb)
  const [first] = own
  return [
    `${path}: ${bytes(fileBytes)} on ${drive.name}${drive.model === undefined ? '' : ` (${drive.model})`}, ${drive.fileSystem ?? 'unknown file system'}`,
    '',
    `GB/s, cold reads in ${passes === 1 ? 'one pass' : `${passes} passes`} over the file (c: served by the page cache)`,
    table([['', ...depths.map((depth) => `depth ${depth}`)], ...rows]),
    '',
    `engine   ${(ownBytesPerSecond / 1e9).toFixed(2)} GB/s, median of ${spread.join(', ')}: ${way(first!)}; ${percent(first!.cpuShare)} of a core, ${percent(first!.hugePageShare)} of its memory in huge pages`,
    best === undefined ? 'best     no cell came from the drive' : `best     ${gb(best)} GB/s: ${way(best)}`,
    verdict(result),
  ].join('\n')
}

/** Best against best, because the best of many cells is the luckiest too; a tenth is what one cell differs by within minutes. */
function verdict({ best, own }: DriveBench): string {
  if (best === undefined) return 'verdict  nothing was learnt of the drive'
  const ownBytesPerSecond = Math.max(...own.map(({ bytesPerSecond }) => bytesPerSecond))
  if (best.bytesPerSecond <= ownBytesPerSecond * 1.1) return 'verdict  the engine reads as fast as this drive was seen to give'
  const advice = best.backend === own[0]!.backend && best.depth === own[0]!.depth ? '' : `; try --io ${best.backend} --io-depth ${best.depth}`
  return `verdict  the best cell is ${percent(best.bytesPerSecond / ownBytesPerSecond - 1)} faster than the engine's way of reading${advice}`
}

const md = (_: string, result: DriveBench): string => [
  `| ${columns.join(' | ')} |`,
  `|${columns.map(() => '---').join('|')}|`,
  ...allCells(result).map((cell) => `| ${values(cell).join(' | ')} |`),
].join('\n')

const csv = (_: string, result: DriveBench): string => [columns.join(','), ...allCells(result).map((cell) => values(cell).join(','))].join('\n')

function json(path: string, { drive, fileBytes, seed, passes, cells, own, ownBytesPerSecond, best, warnings }: DriveBench): unknown {
  const object = (cell: ReadCell): unknown => ({ ...Object.fromEntries(values(cell).map((value, i) => [columns[i], value === '' ? null : value])), gb_s: cell.bytesPerSecond / 1e9 })
  return {
    schema: 1,
    file: path,
    file_bytes: fileBytes,
    drive: { name: drive.name, kind: drive.kind, file_system: drive.fileSystem ?? null, model: drive.model ?? null, firmware: drive.firmware ?? null, devices: drive.devices },
    seed,
    passes,
    engine_gb_s: ownBytesPerSecond / 1e9,
    engine_cells: own.map(object),
    best: best === undefined ? null : object(best),
    cells: cells.map(object),
    warnings,
  }
}

export interface IoBenchFormats {
  readonly human: (path: string, result: DriveBench) => string
  readonly json: (path: string, result: DriveBench) => unknown
  readonly md: (path: string, result: DriveBench) => string
  readonly csv: (path: string, result: DriveBench) => string
}

export const ioBenchFormats: IoBenchFormats = { human, json, md, csv }
