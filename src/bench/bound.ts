/**
 * What the drive and the processor would allow, from figures of the same run: nothing is faster than its slower side.
 *
 *   decode   1 / max(bytes per token / B, compute seconds per token)
 *   prompt   tokens / max(bytes of all its sweeps / B, compute seconds)
 *
 * B is measured on the model file itself, at the engine's block size and depth. Compute is the measured time that was not
 * stalled, so the bound says what perfect overlap would give, not what better kernels would.
 */
import type { SweepReads } from '../../ts/engine/index.js'

export interface BoundInput {
  /** Bytes that must come from the drive for all of it. */
  readonly bytes: number
  /** B; undefined where it could not be measured. */
  readonly bytesPerSecond: number | undefined
  /** Measured seconds that were not stalled, for all of it. */
  readonly computeSeconds: number
  readonly tokens: number
}

export interface Bound {
  readonly tokensPerSecond: number
  readonly side: 'disk' | 'compute'
}

/** Undefined when bytes must be read and nobody knows how fast. */
export function boundOf({ bytes, bytesPerSecond, computeSeconds, tokens }: BoundInput): Bound | undefined {
  if (bytes > 0 && bytesPerSecond === undefined) return undefined
  const readSeconds = bytes === 0 ? 0 : bytes / bytesPerSecond!
  const seconds = Math.max(readSeconds, computeSeconds)
  return seconds > 0 ? { tokensPerSecond: tokens / seconds, side: readSeconds > computeSeconds ? 'disk' : 'compute' } : undefined
}

/** Speeds of reading and of computing while both go on, each as a share of its speed alone, 0 .. 1. */
export interface Interference {
  readonly reading: number
  readonly computing: number
}

/**
 * Least time for so much reading and so much computing, where each slows the other: both at once until the shorter is done, then the
 * rest alone; or one after the other, where that is faster. With an interference of 1 and 1 it is the longer of both.
 * @param readSeconds, computeSeconds what each takes alone
 */
export function jointSeconds(readSeconds: number, computeSeconds: number, { reading, computing }: Interference): number {
  const both = Math.min(readSeconds / reading, computeSeconds / computing)
  const left = readSeconds - both * reading + (computeSeconds - both * computing)
  return Math.min(both + left, readSeconds + computeSeconds)
}

/** Share of the bound by which a speed may exceed it before it counts as a red flag: B itself is no sharper than this. */
const boundTolerance = 0.01

export const isFasterThanBound = (tokensPerSecond: number, bound: Bound): boolean => tokensPerSecond > bound.tokensPerSecond * (1 + boundTolerance)

/**
 * Bytes that n decode sweeps must read: exact for dense models, which the plan knows. Mixtures read what the router asks
 * for, so what was measured as missing stands in for the experts (bands and embedding rows are in it).
 */
export function decodeBytes({ streamedBytes, expertsPerToken }: SweepReads, sweeps: number, missedBytes: number): number {
  return expertsPerToken === 0 ? streamedBytes * sweeps : missedBytes
}

/** The same for `prompts` prompts in chunks; only the last chunk of each needs the output head. */
export function promptBytes({ streamedBytes, streamedHeadBytes, expertsPerToken }: SweepReads, prompts: number, chunksPerPrompt: number, missedBytes: number): number {
  return expertsPerToken === 0 ? prompts * (streamedBytes * chunksPerPrompt - streamedHeadBytes * (chunksPerPrompt - 1)) : missedBytes
}
