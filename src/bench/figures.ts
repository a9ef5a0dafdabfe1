/** From what was counted to what is reported of one test: speed, bytes, stalls, and the share of the bound. */
import type { SweepReads } from '../../ts/engine/index.js'
import { type Bound, boundOf, decodeBytes, isFasterThanBound, promptBytes } from './bound.js'
import { type Counted, summed } from './counters.js'
import type { Repetition } from './repetition.js'
import type { BenchRun } from './run-bench.js'
import { deviation, mean, type Spread, speedSpread } from './statistics.js'
import type { Test } from './tests.js'

export interface TestFigures {
  readonly test: Test
  readonly samplesNs: readonly number[]
  readonly samplesTs: readonly number[]
  readonly avgTs: number
  readonly stddevTs: number
  readonly bound: Bound | undefined
  /** Why there is none. */
  readonly boundReason: string | null
  /** Percent. */
  readonly boundPct: number | null
  readonly isFasterThanBound: boolean
  /** What the bound takes as certain to be read, of all repetitions. */
  readonly boundBytes: number
  readonly perToken: PerToken
  readonly steady: (PerToken & { readonly tokens: number; readonly tokensPerSecond: number; readonly spread: Spread | undefined }) | undefined
  readonly counted: Counted
}

/** Of one token, or a share of time. null: not known here. */
export interface PerToken {
  readonly bytes: number
  readonly osBytes: number | null
  readonly stallMs: number
  readonly computeMs: number
  readonly stallPct: number
  /** Blocks found in memory when asked for; null for mapped files, of which only the kernel knows. */
  readonly hitRate: number | null
  /** Mixtures: of the experts alone, one count per token, layer and expert. */
  readonly expertHitRate: number | null
  readonly diskGbS: number
  readonly deviceBusyPct: number | null
}

export interface FiguresInput {
  readonly reads: SweepReads
  /** Positions of one prompt chunk. */
  readonly batchPositions: number
  readonly bytesPerSecond: number | undefined
  /** Why B is not known. */
  readonly bandwidthReason: string | undefined
  /** The page cache decides what is read: no bound can be told. */
  readonly isMapped: boolean
}

/** Every test that was finished at least once. */
export function measuredTests({ protocol, session, repetitions, bandwidth }: BenchRun): TestFigures[] {
  const { plan } = session
  const input: FiguresInput = {
    reads: plan.reads, batchPositions: plan.regions.batchPositions,
    bytesPerSecond: bandwidth.bytesPerSecond, bandwidthReason: bandwidth.reason, isMapped: plan.mode === 'mmap',
  }
  return protocol.tests.flatMap((test) => {
    const own = repetitions.filter((repetition) => repetition.test === test)
    return own.length === 0 ? [] : [figuresOf(test, own, input)]
  })
}

export function figuresOf(test: Test, repetitions: readonly Repetition[], input: FiguresInput): TestFigures {
  const all = repetitions.length * test.tokens
  const timed = summed(repetitions.map((repetition) => repetition.timed))
  const whole = summed(repetitions.map((repetition) => repetition.whole))
  const samplesNs = repetitions.map(({ ms }) => Math.round(ms * 1e6))
  const samplesTs = samplesNs.map((ns) => (test.tokens * 1e9) / ns)
  const avgTs = mean(samplesTs)
  const isPrompt = test.kind === 'pp'
  const boundBytes = isPrompt
    ? promptBytes(input.reads, repetitions.length, Math.ceil(test.tokens / input.batchPositions), whole.missedBytes)
    : decodeBytes(input.reads, all, whole.missedBytes)
  const bound = input.isMapped ? undefined
    : boundOf({ bytes: boundBytes, bytesPerSecond: input.bytesPerSecond, computeSeconds: computeMs(timed) / 1000, tokens: all })
  const boundReason = bound !== undefined ? null : input.isMapped ? 'mode mmap: the page cache decides what is read' : `the drive could not be measured: ${input.bandwidthReason ?? 'no measurement'}`
  return {
    test, samplesNs, samplesTs, avgTs, boundReason, boundBytes,
    stddevTs: deviation(samplesTs),
    bound,
    boundPct: bound === undefined ? null : (avgTs / bound.tokensPerSecond) * 100,
    isFasterThanBound: bound !== undefined && isFasterThanBound(avgTs, bound),
    perToken: perToken(timed, whole, all, isPrompt ? 0 : input.reads.expertsPerToken, input),
    steady: isPrompt ? undefined : steadyOf(repetitions, input),
    counted: whole,
  }
}

function steadyOf(repetitions: readonly Repetition[], input: FiguresInput): TestFigures['steady'] {
  const parts = repetitions.map(({ steady }) => steady!)
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0)
  const timed = summed(parts.map((part) => part.counted))
  return { ...perToken(timed, timed, tokens, input.reads.expertsPerToken, input), tokens, tokensPerSecond: (tokens * 1000) / timed.ms, spread: speedSpread(parts.flatMap((part) => part.intervalsMs)) }
}

const computeMs = ({ ms, stallMs }: Counted): number => Math.max(0, ms - stallMs)

/**
 * `timed` ends with the last token; `whole` when read-ahead is at rest, so that its bytes are exact.
 * @param expertsPerToken 0 where the router's choices cannot be counted one by one: dense models, chunks of prompts
 */
function perToken(timed: Counted, whole: Counted, tokens: number, expertsPerToken: number, { reads: { streamedBands }, isMapped }: Pick<FiguresInput, 'reads' | 'isMapped'>): PerToken {
  const blocks = timed.hits + timed.misses
  const experts = expertsPerToken * timed.sweeps
  return {
    bytes: whole.readBytes / tokens,
    osBytes: whole.osReadBytes === null ? null : whole.osReadBytes / tokens,
    stallMs: timed.stallMs / tokens,
    computeMs: computeMs(timed) / tokens,
    stallPct: (Math.min(timed.stallMs, timed.ms) / timed.ms) * 100,
    hitRate: isMapped ? null : blocks === 0 ? 1 : timed.hits / blocks,
    // A missed row of the embedding, at most one per token, is counted against the experts.
    expertHitRate: experts === 0 || isMapped ? null : Math.min(1, Math.max(0, 1 - (timed.misses - streamedBands * timed.sweeps) / experts)),
    diskGbS: (isMapped ? timed.osReadBytes ?? 0 : timed.readBytes) / timed.ms / 1e6,
    deviceBusyPct: timed.driveBusyMs === null ? null : Math.min(100, (timed.driveBusyMs / timed.ms) * 100),
  }
}
