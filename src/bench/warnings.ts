/** What a reader must know before believing a figure. */
import { bytes, percent, rate } from '../format.js'
import type { Bandwidth } from './bandwidth.js'
import type { TestFigures } from './figures.js'
import { circleLength } from './repeats.js'
import type { BenchRun } from './run-bench.js'
import { mean } from './statistics.js'
import { testName } from './tests.js'

/** Below this share of the engine's bytes the system did not fetch them from storage. */
const cacheShare = 0.9
const differenceShareMax = 0.02
/** Code that is paged in, and reads under way at the edges of a window: what a small run may differ by. */
const differenceBytesMin = 8 * 2 ** 20
const driftMax = 0.05
const steadyTokensWanted = 128
/** B in one run varies by more than this: the machine was not quiet. */
const bandwidthSpreadMax = 0.25

export function warningsOf(run: BenchRun, figures: readonly TestFigures[]): string[] {
  const { session, protocol } = run
  return [
    ...session.warnings,
    ...(run.isPartial ? ['interrupted: some of the repetitions are missing'] : []),
    ...figures.flatMap((test) => testWarnings(test, run)),
    ...(session.cold.pages.dropped ? [] : [`the cold start was not cold: ${session.cold.pages.reason}`]),
    ...bandwidthWarnings(run.bandwidth),
    ...driftOf(run).filter(({ drift }) => Math.abs(drift) > driftMax).map(({ name, drift }) =>
      `${name}: the first round was ${percent(Math.abs(drift))} ${drift < 0 ? 'slower' : 'faster'} when it came again: the machine changed meanwhile${run.peer === undefined ? '' : ', so the comparison with the peer is void'}`),
    ...(protocol.repetitions < 3 ? [`${protocol.repetitions} repetition${protocol.repetitions === 1 ? '' : 's'}: a spread needs 3`] : []),
  ]
}

function testWarnings(figures: TestFigures, run: BenchRun): string[] {
  const { test, counted, bound } = figures
  const name = testName(test, run.protocol.depth)
  const warnings: string[] = []
  const both = agreementOfBytes(counted.readBytes, counted.osReadBytes)
  if (both !== undefined) warnings.push(`${name}: ${both}`)
  if (figures.isFasterThanBound) warnings.push(`${name}: ${rate(figures.avgTs)} tok/s are faster than the bound of ${rate(bound!.tokensPerSecond)}: bytes came from somewhere else than the drive, or it was measured too low`)
  if (counted.majorFaults > 0) warnings.push(`${name}: ${counted.majorFaults} major page faults while it was measured`)
  if ((counted.swappedBytes ?? 0) > 0) warnings.push(`${name}: ${bytes(counted.swappedBytes!)} were swapped out while it was measured`)
  if (counted.retries > 0) warnings.push(`${name}: ${counted.retries} reads had to be repeated`)
  if (figures.steady !== undefined && figures.steady.tokens < steadyTokensWanted) warnings.push(`${name}: steady figures from ${figures.steady.tokens} tokens; ${steadyTokensWanted} are wanted`)
  if (run.session.plan.reads.expertsPerToken > 0 && run.session.plan.mode === 'stream') {
    const circles = run.repetitions.filter((repetition) => repetition.test === test).map(({ tokens }) => circleLength(tokens)).filter((length) => length !== undefined)
    if (circles.length > 0) warnings.push(`${name}: the greedy text runs in circles of ${Math.min(...circles)} tokens, which finds its experts in memory more often than text does`)
  }
  return warnings
}

/** Engine's and system's bytes side by side; undefined when they agree, or nothing is known. */
export function agreementOfBytes(engine: number, system: number | null): string | undefined {
  if (system === null || engine === 0 || Math.abs(system - engine) < differenceBytesMin && system >= engine * cacheShare) return undefined
  if (system < engine * cacheShare) return `page cache served ${percent(1 - system / engine)} of what the engine read`
  return Math.abs(system - engine) > engine * differenceShareMax ? `the engine counted ${bytes(engine)} read, the system ${bytes(system)}` : undefined
}

function bandwidthWarnings({ samples }: Bandwidth): string[] {
  const spread = samples.length < 2 ? 0 : (Math.max(...samples) - Math.min(...samples)) / Math.max(...samples)
  return spread > bandwidthSpreadMax ? [`the drive gave ${rate(Math.min(...samples) / 1e9)} to ${rate(Math.max(...samples) / 1e9)} GB/s in this run: shares of the bound are no sharper than that`] : []
}

/** Speed of the first round when it came again, against the first time: -0.1 is 10 % slower. */
export function driftOf({ repetitions, sentinel, protocol }: Pick<BenchRun, 'repetitions' | 'sentinel' | 'protocol'>): { name: string; drift: number }[] {
  return sentinel.flatMap((again) => {
    const first = repetitions.find(({ test, prompt }) => test === again.test && prompt === again.prompt)
    return first === undefined ? [] : [{ name: testName(again.test, protocol.depth), drift: first.ms / again.ms - 1 }]
  })
}

/** Own speed over the peer's, round by round; the mean of both. */
export function ratioOf(own: readonly number[], peer: readonly number[]): number | undefined {
  return own.length === 0 || peer.length === 0 ? undefined : mean(own) / mean(peer)
}
