/**
 * The measurements of `hypura iobench`: the engine's own way first, then every other in random order, then a duel.
 *
 * Random order, because drives and neighbours change within seconds and a sorted sweep would call that an effect of depth. The
 * duel, because the fastest of sixty single cells is the luckiest one: it is believed only where it wins again, taking turns
 * with the engine's own way.
 */
import { canMeasure, measureReads, type MeasureReadsOptions, OffsetSet, type ReadCell, shuffled } from '../../ts/engine/index.js'

export type Backend = 'uring' | 'pread' | 'buffered'

export interface Way {
  readonly backend: Backend
  readonly blockBytes: number
  readonly depth: number
}

export interface SweepRequest {
  readonly path: string
  readonly fileBytes: number
  /** Undefined: the one that the engine chooses. */
  readonly backends: readonly Backend[] | undefined
  readonly blockSizes: readonly number[]
  readonly depths: readonly number[]
  /** Of one cell. Undefined: at most half a second, and less where that keeps all cells on places that were not read yet. */
  readonly seconds: number | undefined
  readonly seed: number
  readonly signal: AbortSignal
  readonly onProgress: (fraction: number, detail: string) => void
}

export interface SweepResult {
  /** One per way, by backend, block and depth. The engine's own way is the median of its passes. */
  readonly cells: readonly ReadCell[]
  /** Passes of the engine's own way, in order. */
  readonly own: readonly ReadCell[]
  /** The fastest other way again, in turn with the last passes of `own`; empty when there was no other. */
  readonly rival: readonly ReadCell[]
  /** One page alone: what a read costs before its first byte. */
  readonly lone: ReadCell
}

export const duelRounds = 3
const secondsDefault = 0.5
/** A cell of fewer bytes says little: a fast drive delivers these in a fiftieth of a second. */
const cellBytesLeast = 128 * 2 ** 20

/** Errors: those of measureReads(). */
export async function sweep(request: SweepRequest): Promise<SweepResult> {
  const { path, fileBytes, backends, blockSizes, depths, seconds, seed, signal, onProgress } = request
  const shapes = blockSizes.flatMap((blockBytes) => depths.filter((depth) => canMeasure(blockBytes, depth)).map((depth) => ({ blockBytes, depth })))
  const total = 2 + shapes.length * (backends?.length ?? 1) + 2 * duelRounds
  const bytesMax = seconds === undefined ? Math.max(cellBytesLeast, Math.floor(fileBytes / total)) : undefined
  const avoid = new OffsetSet(fileBytes)
  let done = 0
  const measure = (way: MeasureReadsOptions, label: string): Promise<ReadCell> => {
    onProgress(done / total, label)
    return measureReads(path, { ...way, seconds: seconds ?? secondsDefault, bytesMax, avoid, signal, seed: (seed + done++) % 2 ** 32 })
  }

  const own = [await measure({}, 'the engine\'s own way')]
  const lone = await measure({ blockBytes: 4096, depth: 1 }, 'one page alone')
  const ways = (backends ?? [own[0]!.backend as Backend]).flatMap((backend) => shapes.map((shape) => ({ backend, ...shape })))
  const others = ways.filter((way) => !isWay(own[0]!, way))
  const place = shuffled(others.length, seed)
  const found = new Map<Way, ReadCell>()
  for (let i = 0; i < others.length; i++) {
    const way = others[place(i)]!
    found.set(way, await measure(way, labelOf(way)))
  }
  const rival: ReadCell[] = []
  const fastest = fastestOf([...found.values()])
  for (let round = 0; round < duelRounds; round++) {
    own.push(await measure({}, 'the engine\'s own way again'))
    if (fastest !== undefined) rival.push(await measure(wayOf(fastest), `${labelOf(fastest)} again`))
  }
  return { cells: ways.map((way) => found.get(way) ?? medianOf(own)), own, rival, lone }
}

/** Cells that the page cache served are not the drive's. */
export function fastestOf(cells: readonly ReadCell[]): ReadCell | undefined {
  return cells.filter(({ cached }) => !cached).sort((a, b) => b.bytesPerSecond - a.bytesPerSecond)[0]
}

/** The slower one in the middle of an even count: a real cell, and never flattering. */
export function medianOf(cells: readonly ReadCell[]): ReadCell {
  return cells.toSorted((a, b) => a.bytesPerSecond - b.bytesPerSecond)[Math.floor((cells.length - 1) / 2)]!
}

export const isWay = (cell: ReadCell, way: Way): boolean => cell.backend === way.backend && cell.blockBytes === way.blockBytes && cell.depth === way.depth
export const wayOf = ({ backend, blockBytes, depth }: ReadCell): Way => ({ backend: backend as Backend, blockBytes, depth })
export const labelOf = ({ backend, blockBytes, depth }: Pick<ReadCell, 'backend' | 'blockBytes' | 'depth'>): string => `${backend} ${sizeLabel(blockBytes)} x ${depth}`

/** 65536 → "64 KiB", 6144 x 4 → "24 KiB", 1.5 MiB → "1536 KiB": block sizes are whole pages. */
export const sizeLabel = (bytes: number): string => (bytes % 2 ** 20 === 0 ? `${bytes / 2 ** 20} MiB` : `${bytes / 1024} KiB`)
