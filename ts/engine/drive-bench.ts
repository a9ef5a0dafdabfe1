/**
 * A drive's bandwidth by way of reading: a sweep of block sizes and depths over one file, per backend.
 *
 * The engine's own cell (its first backend, 4 MiB, depth 8) is measured at the beginning, in the middle and at the end: their
 * spread says how far the other cells can be trusted. No place is read again before the whole file was read: what the cache of
 * a drive or of a host holds has long been replaced, if only the file is large. A cell that the page cache served says so.
 */
import { HypuraError } from '../base/errors.js'
import { type Drive, driveOf } from '../machine/drive.js'
import { loadBinding } from '../native/load-binding.js'
import { nativeLimits } from '../native/layout.gen.js'
import { measureReads, type ReadCell } from './measure-reads.js'
import { OffsetSet } from './read-offsets.js'
import { callNative } from './native-errors.js'
import { statSync } from 'node:fs'

export type BenchBackend = 'uring' | 'pread' | 'buffered'

export interface DriveBenchOptions {
  /** Default: those that run here. */
  readonly backends?: readonly BenchBackend[] | undefined
  /** Default: 4 KiB to 16 MiB; a few of them when quick. */
  readonly blockSizes?: readonly number[] | undefined
  readonly depths?: readonly number[] | undefined
  /** Of one cell. Default 0.4. */
  readonly seconds?: number | undefined
  /** Only what a plan needs: the engine's cell of each backend and the latency of a small read. */
  readonly quick?: boolean | undefined
  /** Also measure what is no disk. */
  readonly force?: boolean | undefined
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

export interface DriveBench {
  readonly drive: Drive
  readonly fileBytes: number
  readonly seed: number
  readonly cells: readonly ReadCell[]
  /** How often the whole file was read, the last time in part. */
  readonly passes: number
  /** The engine's own way of reading, in the order of time. */
  readonly own: readonly ReadCell[]
  /** Median of `own`. */
  readonly ownBytesPerSecond: number
  /** The fastest cell that no cache served; undefined when there is none. */
  readonly best: ReadCell | undefined
  readonly warnings: readonly string[]
}

const kib = 1024
const fullSizes = [4 * kib, 64 * kib, 256 * kib, 1024 * kib, 4096 * kib, 16_384 * kib]
const fullDepths = [1, 4, 8, 32]
/** Memory that one cell reads into, at most. */
const memoryMax = 256 * 2 ** 20
const secondsDefault = 0.4
/** A pass ends here: what is left is too little for a cell. */
const passEnd = 0.9
/** Caches of drives and of their hosts are smaller; of a smaller file they may hold everything. */
const largeBytes = 2 ** 30
/** The engine's cell is the one that counts: it gets more time than the others. */
const ownSeconds = 1.5

interface Cell {
  readonly backend: BenchBackend
  readonly blockBytes: number
  readonly depth: number
}

/**
 * Errors: those of measureReads(); ERR_HYPURA_UNSUPPORTED for what is no disk, without `force`; ERR_HYPURA_INVALID_ARGUMENT when no
 * cell is left to measure.
 */
export async function benchDrive(path: string, options: DriveBenchOptions = {}): Promise<DriveBench> {
  const { seconds = secondsDefault, signal, seed = Math.floor(Math.random() * 2 ** 32), onProgress } = options
  const drive = driveOf(path)
  if (options.force !== true) requireDisk(path, drive)
  const cells = cellsOf(options)
  const fileBytes = sizeOf(path)
  let avoid = new OffsetSet(fileBytes)
  let passes = 1
  let readInPass = 0
  const total = cells.length + 3
  const found: ReadCell[] = []
  const own: ReadCell[] = []
  let done = 0
  const measure = async (cell: Partial<Cell>, time: number, into: ReadCell[]): Promise<void> => {
    if (readInPass > fileBytes * passEnd) {
      avoid = new OffsetSet(fileBytes)
      passes++
      readInPass = 0
    }
    const result = await measureReads(path, { ...cell, seconds: time, bytesMax: Math.max(cell.blockBytes ?? nativeLimits.readBytesMax, fileBytes - readInPass), seed: (seed + done) % 2 ** 32, avoid, signal })
    readInPass += result.bytes
    into.push(result)
    onProgress?.(++done, total)
  }
  for (const [i, cell] of cells.entries()) {
    if (i === 0 || i === Math.floor(cells.length / 2)) await measure({}, ownSeconds, own)
    await measure(cell, seconds, found)
  }
  await measure({}, ownSeconds, own)
  const speeds = own.map(({ bytesPerSecond }) => bytesPerSecond).toSorted((a, b) => a - b)
  const [best] = [...found, ...own].filter(({ cached }) => !cached).toSorted((a, b) => b.bytesPerSecond - a.bytesPerSecond)
  return { drive, fileBytes, seed, cells: found, own, ownBytesPerSecond: speeds[Math.floor(speeds.length / 2)]!, best, passes, warnings: warningsOf(drive, fileBytes, found, own) }
}

function requireDisk(path: string, drive: Drive): void {
  if (drive.kind === 'disk' || drive.kind === 'unknown') return
  throw new HypuraError('ERR_HYPURA_UNSUPPORTED',
    `${path} lies on ${drive.fileSystem ?? drive.name}, which is ${drive.kind === 'memory' ? 'memory' : `a ${drive.kind}`} and no disk: a figure would say nothing of one. Name a file on a disk, or give --force.`,
    { path, found: drive.kind })
}

function cellsOf({ backends, blockSizes, depths, quick }: DriveBenchOptions): Cell[] {
  const available = callNative(() => loadBinding().probe()).io.filter((one) => one.available).map(({ name }) => name)
  const chosen = backends ?? (available as BenchBackend[])
  const sizes = blockSizes ?? (quick === true ? [nativeLimits.readBytesMax] : fullSizes)
  const queue = depths ?? (quick === true ? [nativeLimits.ioDepthDefault] : fullDepths)
  const fits = ({ blockBytes, depth }: Cell): boolean =>
    Math.ceil(blockBytes / nativeLimits.readBytesMax) * depth <= nativeLimits.ioDepthMax && blockBytes * depth <= memoryMax
  const cells = chosen.flatMap((backend) => sizes.flatMap((blockBytes) => queue.map((depth) => ({ backend, blockBytes, depth })))).filter(fits)
  if (quick === true && blockSizes === undefined && depths === undefined) cells.push(...chosen.filter((name) => name !== 'buffered').slice(0, 1).map((backend) => ({ backend, blockBytes: 4 * kib, depth: 1 })))
  if (cells.length > 0) return cells
  throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `no block size goes with a depth: blocks beyond ${nativeLimits.readBytesMax} bytes are several reads, of which ${nativeLimits.ioDepthMax} may be on their way, in ${memoryMax} bytes of memory`)
}

function warningsOf(drive: Drive, fileBytes: number, cells: readonly ReadCell[], own: readonly ReadCell[]): string[] {
  const all = [...cells, ...own]
  const count = (one: (cell: ReadCell) => boolean): number => all.filter(one).length
  const cached = count((cell) => cell.cached)
  const buffered = own.find(({ direct }) => !direct)
  const small = count(({ direct, hugePageShare }) => direct && hugePageShare < 0.5)
  return [
    ...(drive.kind === 'disk' ? [] : [`this is ${drive.kind === 'unknown' ? 'no drive that the system names' : `no disk (${drive.kind})`}${drive.reason === '' ? '' : `: ${drive.reason}`}`]),
    ...(cached === 0 ? [] : [`${cached} of ${all.length} cells were served by the page cache and say nothing of the drive`]),
    ...(fileBytes >= largeBytes ? [] : ['the file is small: what was read before may have come from a cache of the drive or of a host']),
    ...(buffered === undefined ? [] : [`reads go through the page cache: ${buffered.directReason}`]),
    ...(small === 0 ? [] : ['memory came without huge pages: direct reads may be three times slower than with them']),
  ]
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch {
    return 0 // measureReads() says what is wrong
  }
}
