/**
 * How fast a file can be read in one way: one cell of `hypura iobench`, and the yardstick that `hypura bench` holds speeds to.
 *
 * Reads go as an engine's go (same backends, same memory), to places that this call reads once. What the operating system says
 * it fetched stands beside what was read, so that a cache cannot pass for a drive.
 */
import { randomInt } from 'node:crypto'
import { z } from 'zod'
import { HypuraError } from '../base/errors.js'
import { openFile } from '../gguf/file-source.js'
import { nativeLimits } from '../native/layout.gen.js'
import { loadBinding } from '../native/load-binding.js'
import type { IoChoice } from '../native/native-binding.js'
import { awaitNative, callNative } from './native-errors.js'
import { check, integer, real, signal } from './options.js'
import { processStats } from '../machine/process-stats.js'
import { drawOffsets, OffsetSet } from './read-offsets.js'

export interface ReadCell {
  /** The one that ran: uring, pread or buffered. */
  readonly backend: string
  /** Past the page cache. */
  readonly direct: boolean
  /** Why not direct; '' when it was. */
  readonly directReason: string
  readonly blockBytes: number
  /** Blocks on their way at once. */
  readonly depth: number
  readonly bytes: number
  /** From the first submission to the last completion. */
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Of one block. With more blocks than threads (pread, buffered: 4) it includes the wait for one. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
  /** Processor time of the whole process, in cores. */
  readonly cpuShare: number
  /** Fetched from storage by this process meanwhile (read_bytes of /proc/self/io); undefined where the system does not say. */
  readonly osBytes: number | undefined
  /** 1 - osBytes / bytes, at least 0. */
  readonly cacheServedShare: number | undefined
  /** Memory read into that lay in huge pages, 0 .. 1. Without them direct reads are up to three times slower. */
  readonly hugePageShare: number
  /** Bytes from places in `avoid`: read before, and perhaps kept by a cache that the system does not know of. */
  readonly repeatedShare: number
  /** More than a tenth came from the page cache: no figure of the drive. */
  readonly cached: boolean
}

export interface MeasureReadsOptions {
  /** Default 'auto', as an engine chooses. */
  readonly backend?: IoChoice | undefined
  /** Default: true but for 'buffered'. */
  readonly direct?: boolean | undefined
  /** A multiple of 4,096 up to 16 MiB. Default 4 MiB; longer blocks are several reads. */
  readonly blockBytes?: number | undefined
  /** 1 .. 64, for blocks beyond 4 MiB less: all reads together are at most 64. Default 8. */
  readonly depth?: number | undefined
  /** No block begins later. Default 1.5. */
  readonly seconds?: number | undefined
  /** No block begins after so many bytes. Default: as many as time allows. */
  readonly bytesMax?: number | undefined
  /** Of the order of blocks, 0 .. 2^32 - 1. Default: drawn, so that two calls read different places. */
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** What was read before; blocks outside are taken first, and what is read now is added. */
  readonly avoid?: OffsetSet | undefined
}

/** More 4 KiB blocks than most drives read in the default time; their latencies are sorted afterwards. */
const offsetsMax = 2 ** 18
/** The system's counter may miss this share before the page cache is blamed. */
const cachedShareMin = 0.1

const shape = {
  backend: z.enum(['auto', 'uring', 'pread', 'buffered']).optional(),
  direct: z.boolean().optional(),
  blockBytes: integer(4096, nativeLimits.measureBlockBytesMax),
  depth: integer(1, nativeLimits.ioDepthMax),
  seconds: real(0.001, 600),
  bytesMax: integer(1, Number.MAX_SAFE_INTEGER),
  seed: integer(0, 2 ** 32 - 1),
  signal,
  avoid: z.instanceof(OffsetSet).optional(),
}
const schema: z.ZodType<MeasureReadsOptions> = z.strictObject(shape)

/**
 * Reads blocks of a file until its time is over, and says how fast that was. Runs on a thread of its own.
 *
 * Errors: ERR_HYPURA_NOT_FOUND, _NOT_GGUF (no regular file), _INVALID_ARGUMENT (an option, an empty file), _UNSUPPORTED (the
 * backend cannot run here), _IO, _MODEL_CHANGED, _INSUFFICIENT_MEMORY; the signal's reason when aborted.
 */
export async function measureReads(path: string, options: MeasureReadsOptions = {}): Promise<ReadCell> {
  const { backend = 'auto', direct = backend !== 'buffered', blockBytes = nativeLimits.readBytesMax, depth = nativeLimits.ioDepthDefault, seconds = 1.5,
    bytesMax = Number.MAX_SAFE_INTEGER, seed = randomInt(2 ** 32), signal, avoid } = check(schema, { '': shape }, options, 'measureReads options')
  if (direct && backend === 'buffered') throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'measureReads options: the buffered backend reads through the page cache, direct cannot be true', { field: 'direct' })
  if (typeof path !== 'string' || path === '') throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `the path of a file is a text, not ${path === '' ? 'an empty one' : String(path)}`, { field: 'path' })
  signal?.throwIfAborted()
  const fileBytes = await sizeOf(path)
  signal?.throwIfAborted()
  const count = Math.min(offsetsMax, Math.ceil(bytesMax / blockBytes))
  const offsets = drawOffsets({ fileBytes, blockBytes, count, seed, avoid })
  const before = processStats().readBytes
  const native = callNative(() => loadBinding().measureReads(path, offsets, { backend, direct, blockBytes, depth, timeMs: Math.ceil(seconds * 1000), bytesMax }), [path])
  const abort = (): void => native.cancel()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const found = await awaitNative(native.done, [path])
    const after = processStats().readBytes
    const osBytes = before === undefined || after === undefined ? undefined : after - before
    const cacheServedShare = osBytes === undefined || found.bytes === 0 ? undefined : Math.max(0, 1 - osBytes / found.bytes)
    return {
      backend: found.backend,
      direct: found.direct,
      directReason: found.directReason,
      blockBytes,
      depth,
      bytes: found.bytes,
      seconds: found.durationNs / 1e9,
      bytesPerSecond: found.bytes / (found.durationNs / 1e9),
      latencyMs: { p50: found.latencyP50Ns / 1e6, p99: found.latencyP99Ns / 1e6, max: found.latencyMaxNs / 1e6 },
      cpuShare: found.cpuNs / found.durationNs,
      osBytes,
      cacheServedShare,
      hugePageShare: found.hugePageBytes / found.arenaBytes,
      repeatedShare: remember(avoid, offsets.subarray(0, found.blocks), Math.min(blockBytes, fileBytes)),
      cached: cacheServedShare !== undefined && cacheServedShare > cachedShareMin,
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

async function sizeOf(path: string): Promise<number> {
  await using file = await openFile(path)
  if (file.sizeBytes === 0) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `${path} is empty: there is nothing to read`, { path })
  return file.sizeBytes
}

/** Adds the blocks; returns which share of them was known already. */
function remember(avoid: OffsetSet | undefined, offsets: Float64Array, blockBytes: number): number {
  if (avoid === undefined || offsets.length === 0) return 0
  let shares = 0
  for (const offset of offsets) {
    shares += avoid.shareOf(offset, blockBytes)
    avoid.add(offset, blockBytes)
  }
  return shares / offsets.length
}
