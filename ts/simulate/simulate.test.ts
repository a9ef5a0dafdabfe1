// What could break: a simulator that flatters a policy: hits that the engine would not have, a yardstick that can be beaten, a curve that
// belongs to another pool, a stall that is not the drive's.
// How we notice: the executable specification of the pool replays the same traces, Belady must not be beaten by any policy on any trace,
// the curve is compared with a list that is kept by hand, stalls with arithmetic, and an oracle must score 100 %.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { evictionPolicies, offlinePolicies } from '../prefetch/eviction/index.js'
import { predictors } from '../prefetch/predictors/index.js'
import { oracle } from '../prefetch/predictors/oracle.js'
import { referenceCache } from '../prefetch/reference-cache.js'
import type { Trace, TraceModel } from '../trace/trace.js'
import { disk } from './disk.js'
import { guessBounds } from './guess-bounds.js'
import { judgePredictor } from './judge-predictor.js'
import { layoutOf, requestsOf } from './layout.js'
import { missesOfRecency } from './miss-ratio.js'
import { offlinePool, scoredPool } from './pools.js'
import { replay } from './replay.js'
import { choicesOf, simulate } from './simulate.js'

const drive = { bytesPerSecond: 1e9, latencySeconds: 1e-4 }
const [layers, nExpert, nExpertUsed] = [3, 8, 2]
const model: TraceModel = {
  architecture: 'x', name: 'x', sha256: '', nLayer: layers, nLayerDenseLead: 0, nExpert, nExpertUsed,
  expertBytes: new Float64Array(layers * nExpert).fill(1_000_000), besideBytes: 5_000_000,
}

interface Sweep {
  readonly positions: number
  readonly experts: readonly (readonly number[])[]
}
const traceOf = (sweeps: readonly Sweep[]): Trace => ({
  model, sweeps: sweeps.length, lostEvents: 0, skippedSweeps: 0,
  positions: (at) => sweeps[at]!.positions,
  computeMicroseconds: () => 3_000,
  followsGap: () => false,
  experts: (at, layer) => Uint16Array.from(sweeps[at]!.experts[layer]!),
})
const listOf = (minLength: number, maxLength: number): fc.Arbitrary<number[]> => fc.uniqueArray(fc.nat(nExpert - 1), { minLength, maxLength })
const anySweep = fc.oneof(
  { weight: 4, arbitrary: fc.record({ positions: fc.constant(1), experts: fc.array(listOf(2, 2), { minLength: layers, maxLength: layers }) }) },
  { weight: 1, arbitrary: fc.record({ positions: fc.integer({ min: 2, max: 9 }), experts: fc.array(listOf(2, 8), { minLength: layers, maxLength: layers }) }) },
)
const anyTrace = fc.array(anySweep, { minLength: 1, maxLength: 60 }).map(traceOf)
const anySlots = fc.integer({ min: 2, max: layers * nExpert })

test('recency in the pool is the specification with equal scores', () => {
  fc.assert(fc.property(anyTrace, anySlots, (trace, slots) => {
    const layout = layoutOf(trace)
    const pool = scoredPool({ layout, slots, policy: evictionPolicies.get('recency')!, drive, planEvery: 1, admission: 'normal' })
    const spec = referenceCache(slots)
    let hits = 0
    const scores = new Float32Array(layout.blocks.count).fill(1)
    requestsOf(trace).forEach((blocks, i) => (hits += spec.request(blocks, { scores, sweep: Math.floor(i / layers) }).hits))
    expect(replay({ trace, layout, pool, drive, planEvery: 1 }).allHits).toBe(hits)
  }), { numRuns: 60 })
})

test('no policy has more hits than Belady, and Belady has none that are impossible', () => {
  fc.assert(fc.property(anyTrace, anySlots, fc.constantFrom(undefined, 'normal' as const, 'keepHits' as const, 'bypass' as const), (trace, slots, admission) => {
    const layout = layoutOf(trace)
    const requests = requestsOf(trace)
    const best = replay({ trace, layout, drive, planEvery: 3, pool: offlinePool(offlinePolicies.get('belady')!.create(slots, requests)) })
    for (const policy of evictionPolicies.values()) {
      expect(replay({ trace, layout, drive, planEvery: 3, pool: scoredPool({ layout, slots, policy, drive, planEvery: 3, admission }) }).allHits).toBeLessThanOrEqual(best.allHits)
    }
    for (const policy of offlinePolicies.values()) {
      expect(replay({ trace, layout, drive, planEvery: 3, pool: offlinePool(policy.create(slots, requests)) }).allHits).toBeLessThanOrEqual(best.allHits)
    }
    const first = new Set(requests.flat()).size
    expect(best.allRequests - best.allHits).toBeGreaterThanOrEqual(first)
    if (slots >= first) expect(best.allRequests - best.allHits).toBe(first)
  }), { numRuns: 80 })
})

test('Belady is best of all ways on traces that are small enough to try them all', () => {
  const request = fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 2 })
  fc.assert(fc.property(fc.array(request, { minLength: 1, maxLength: 6 }), fc.integer({ min: 2, max: 3 }), (requests, slots) => {
    /** Most hits from here on, whichever of what is there and what comes is kept. */
    const most = (at: number, there: readonly number[]): number => {
      if (at === requests.length) return 0
      const hits = requests[at]!.filter((block) => there.includes(block)).length
      const all = [...new Set([...there, ...requests[at]!])]
      let best = 0
      for (let kept = 0; kept < 2 ** all.length; kept++) {
        const some = all.filter((_, i) => (kept >> i) & 1)
        if (some.length <= slots) best = Math.max(best, most(at + 1, some))
      }
      return hits + best
    }
    const pool = offlinePolicies.get('belady')!.create(slots, requests)
    const hits = requests.reduce((sum, blocks) => sum + blocks.length - pool.request(blocks).length, 0)
    expect(hits).toBe(most(0, []))
  }), { numRuns: 30 })
})

test('S3-FIFO lets a scan pass and keeps what returns', () => {
  const pool = offlinePolicies.get('s3-fifo')!.create(10, [])
  for (let round = 0; round < 3; round++) for (let block = 0; block < 6; block++) pool.request([block])
  for (let block = 100; block < 200; block++) pool.request([block])
  expect([0, 1, 2, 3, 4, 5].filter((block) => pool.has(block))).toHaveLength(6)
})

test('the curve of recency is that of a list kept by hand, for every number of slots at once', () => {
  fc.assert(fc.property(anyTrace, (trace) => {
    const requests = requestsOf(trace)
    const misses = missesOfRecency(requests, layers * nExpert)
    for (let slots = 0; slots <= layers * nExpert; slots++) {
      let recent: number[] = []
      let missed = 0
      for (const blocks of requests) {
        const there = recent.slice(0, slots)
        missed += blocks.filter((block) => !there.includes(block)).length
        for (const block of blocks) recent = [block, ...recent.filter((other) => other !== block)]
      }
      expect(misses[slots]).toBe(missed)
    }
  }), { numRuns: 30 })
})

test('a stall is what the drive needs beyond half of a layer\'s computing', () => {
  const trace = traceOf([{ positions: 1, experts: [[0, 1], [0, 1], [0, 1]] }, { positions: 1, experts: [[0, 1], [0, 1], [0, 1]] }])
  const layout = layoutOf(trace)
  const pool = scoredPool({ layout, slots: 6, policy: evictionPolicies.get('recency')!, drive, planEvery: 9 })
  const { hits, misses, demandBytes, stallSeconds, computeSeconds, tokens } = replay({ trace, layout, pool, drive, planEvery: 9 })
  expect({ hits, misses, demandBytes, tokens }).toEqual({ hits: 6, misses: 6, demandBytes: 6e6, tokens: 2 })
  expect(computeSeconds).toBeCloseTo(6e-3, 12)
  // Each of three layers: two reads of 1 ms one behind the other, 0.1 ms of latency, less 0.5 ms of computing.
  expect(stallSeconds).toBeCloseTo(3 * (2e-3 + 1e-4 - 0.5e-3), 12)
})

test('the drive works on one read after the other and latencies overlap', () => {
  const one = disk(drive)
  expect(one.read(1e6, 0)).toBeCloseTo(1.1e-3, 12)
  expect(one.read(1e6, 0)).toBeCloseTo(2.1e-3, 12)
  expect(one.read(1e6, 1)).toBeCloseTo(1 + 1.1e-3, 12)
})

test('an oracle finds everything, whatever the trace; and with it reading ahead costs no byte more', () => {
  fc.assert(fc.property(anyTrace, anySlots, (trace, slots) => {
    const layout = layoutOf(trace)
    const judgement = judgePredictor(trace, oracle(choicesOf(trace, layout)))
    if (judgement.choices > 0) expect([judgement.atUsed.recall, judgement.sure.recall, judgement.sure.precision]).toEqual([1, 1, 1])
    const pool = scoredPool({ layout, slots: Math.max(8, slots), policy: evictionPolicies.get('recency')!, drive, planEvery: 3 })
    const { guesses } = replay({ trace, layout, pool, drive, planEvery: 3, predictor: oracle(choicesOf(trace, layout)), action: 'prefetch' })
    expect(guesses!.usedBytes).toBeLessThanOrEqual(guesses!.readBytes)
  }), { numRuns: 40 })
})

test('guesses in shadow change nothing', () => {
  fc.assert(fc.property(anyTrace, anySlots, (trace, slots) => {
    const layout = layoutOf(trace)
    const poolOf = (): ReturnType<typeof scoredPool> => scoredPool({ layout, slots, policy: evictionPolicies.get('cost-aware')!, drive, planEvery: 3 })
    const { guesses: _, ...without } = replay({ trace, layout, pool: poolOf(), drive, planEvery: 3 })
    for (const kind of predictors.values()) {
      const { guesses: __, ...shadow } = replay({ trace, layout, pool: poolOf(), drive, planEvery: 3, predictor: kind.create({ layers, nExpert, nExpertUsed }), action: 'shadow' })
      expect(shadow).toEqual(without)
    }
  }), { numRuns: 20 })
})

test('guesses are bounded in bytes, and end while most are wrong', () => {
  const bounds = guessBounds()
  expect(bounds.allows(1)).toBe(false) // nothing was asked for yet
  for (let read = 0; read < 100; read++) bounds.demand(1000)
  expect(bounds.allows(15_000)).toBe(true)
  expect(bounds.allows(15_001)).toBe(false)
  for (let guess = 0; guess < 8; guess++) bounds.guess(10)(guess < 3)
  expect(bounds.allows(1)).toBe(false)
  bounds.renew()
  expect(bounds.allows(1)).toBe(true)
})

test('a simulation is the same twice, its curve falls, and memory for less than two experts is refused', () => {
  const trace = traceOf(Array.from({ length: 40 }, (_, at) => ({ positions: 1, experts: [[at % 8, (at + 1) % 8], [at % 3, 7], [at % 5, 6]] })))
  const options = { memory: [{ kind: 'share', share: 0.5 }, { kind: 'bytes', bytes: 11_500_000 }] as const, drive, planEvery: 4, predictors: [...predictors.keys(), 'oracle'] }
  const result = simulate(trace, options)
  expect(simulate(trace, options)).toEqual(result)
  expect(result.budgets.map(({ slots }) => slots)).toEqual([12, 6])
  for (const key of ['recency', 'belady'] as const) {
    for (const [i, point] of result.curve.entries()) if (i > 0) expect(point[key]).toBeLessThanOrEqual(result.curve[i - 1]![key])
  }
  expect(() => simulate(trace, { ...options, memory: [{ kind: 'bytes', bytes: 6_000_000 }] })).toThrow(/at least 2/)
})
