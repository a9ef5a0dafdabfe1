// What could break: scores that native refuses (NaN, negative), statistics that never forget or forget at once, a plan that is
// worse than none. How we notice: every policy on random views, statistics against a direct sum over the trace, and a replay
// of a skewed trace against recency.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fakeFamily, tinyMixture } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { buildManifest } from '../manifest/block-manifest.js'
import { accessStats } from './access-stats.js'
import { assumedDrive, readSeconds } from './cost-model.js'
import type { RouteEvent } from './events.js'
import { evictionPolicies, evictionPolicy } from './eviction/index.js'
import { firstPlan, planResidency } from './planner.js'
import { referenceCache } from './reference-cache.js'

const manifest = await buildManifest(fakeModel(fakeFamily({ ...tinyMixture, nExpert: 64, nExpertUsed: 4, nLayer: 3 })))
const { experts, blocks } = manifest
const route = (sweep: number, layer: number, chosen: readonly number[]): RouteEvent => ({ kind: 'route', timeNs: 0, sweep, layer, experts: chosen })

test.each([...evictionPolicies.keys()])('%s gives a finite score >= 0 to every block, and the same one twice', (name) => {
  const policy = evictionPolicies.get(name)!
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 20, maxLength: 20 }), fc.integer({ min: 1, max: 2 ** 30 }), (rates, bytes) => {
    const view = {
      experts: Array.from({ length: 10 }, (_, i) => ({ id: 5 + i, bytes: bytes + i * 4096 })),
      nBlocks: 20, usesPerToken: Float64Array.from(rates), readSeconds: (size: number) => readSeconds(assumedDrive, size),
    }
    const scores = policy.scores(view)
    expect(scores).toHaveLength(20)
    for (const score of scores) expect(Number.isFinite(score) && score >= 0).toBe(true)
    expect(policy.scores(view)).toEqual(scores)
  }))
})

test('what is used more is worth more', () => {
  for (const name of ['cost-aware', 'frequency']) {
    const usesPerToken = Float64Array.from([0, 0.1, 0.5])
    const scores = evictionPolicy(name).scores({
      experts: [0, 1, 2].map((id) => ({ id, bytes: 4096 })), nBlocks: 3, usesPerToken, readSeconds: (bytes) => readSeconds(assumedDrive, bytes),
    })
    expect(scores[2]).toBeGreaterThan(scores[1]!)
    expect(scores[1]).toBeGreaterThan(scores[0]!)
  }
  expect(() => evictionPolicy('frequncy')).toThrow(/did you mean "frequency"/)
})

test('statistics are the decayed share of sweeps, smoothed by uniform routing', () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.uniqueArray(fc.nat(63), { maxLength: 6 })), { minLength: 1, maxLength: 60 }), (steps) => {
    const stats = accessStats(manifest)
    let sweep = 100
    const seen: { sweep: number; chosen: number[] }[] = []
    for (const [gap, chosen] of steps) {
      sweep += gap
      seen.push({ sweep, chosen })
      stats.observe([route(sweep, 1, chosen)])
    }
    const decay = 0.5 ** (1 / 256)
    let sweeps = 0
    for (let s = seen[0]!.sweep; s <= sweep; s++) sweeps += decay ** (sweep - s)
    const rates = stats.usesPerToken()
    for (const expert of [0, 17, 63]) {
      const uses = seen.reduce((sum, step) => sum + (step.chosen.includes(expert) ? decay ** (sweep - step.sweep) : 0), 0)
      expect(rates[experts.first + 64 + expert]).toBeCloseTo(Math.min(1, (uses + (8 * 4) / 64) / (sweeps + 8)), 10)
    }
    expect(stats.evidence()).toBeCloseTo(sweeps, 8)
    expect(rates[0]).toBe(0)
  }), { numRuns: 50 })
})

test('events of other kinds, of layers without experts and of experts that do not exist are harmless', () => {
  const stats = accessStats(manifest)
  stats.observe([route(1, 9, [1]), route(1, 0, [64, 65_535]), { kind: 'token', timeNs: 0, sweep: 1, layer: undefined, token: 1, positions: 1, computeMicroseconds: 1, stallMicroseconds: 1 }])
  for (const rate of stats.usesPerToken()) expect(Number.isFinite(rate)).toBe(true)
})

test('plans are well-formed, and say nothing before there is evidence', () => {
  const regions = { pinCount: 5, poolSlots: 40 }
  const first = firstPlan(manifest, regions)
  expect([first.scores.length, first.hold.length, first.warm.length, first.pinCount]).toEqual([blocks.count, 0, 0, 5])
  const stats = accessStats(manifest)
  const input = { manifest, regions, policy: evictionPolicy('cost-aware'), drive: assumedDrive, stats, sequenceNumber: 2 }
  expect(planResidency(input).warm).toHaveLength(0)
  for (let sweep = 0; sweep < 30; sweep++) stats.observe([route(sweep, 2, [7, 8])])
  const plan = planResidency(input)
  expect(plan.warm).toHaveLength(36)
  expect([...plan.warm.subarray(0, 2)]).toEqual([experts.first + 2 * 64 + 7, experts.first + 2 * 64 + 8])
  expect(new Set(plan.warm).size).toBe(36)
  expect(planResidency(input)).toEqual(plan)
  expect(planResidency({ ...input, warm: false }).warm).toHaveLength(0)
})

test('on a skewed trace the default policy hits more than recency', () => {
  let seed = 1
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
  const traces = Array.from({ length: 1500 }, () => [0, 1, 2].map(() => {
    const chosen = new Set<number>()
    while (chosen.size < 4) chosen.add(Math.floor(64 * random() ** 2.5))
    return [...chosen]
  }))
  const hitsOf = (name: string): number => {
    const cache = referenceCache(40)
    const stats = accessStats(manifest)
    let { scores } = firstPlan(manifest, { pinCount: 0 })
    let hits = 0
    traces.forEach((layers, sweep) => {
      layers.forEach((chosen, layer) => {
        const wanted = chosen.map((expert) => experts.first + layer * 64 + expert)
        hits += cache.request(wanted, { scores, sweep }).hits
        stats.observe([route(sweep, layer, chosen)])
      })
      if (sweep % 20 !== 19) return
      scores = planResidency({ manifest, regions: { pinCount: 0, poolSlots: 40 }, policy: evictionPolicy(name), drive: assumedDrive, stats, sequenceNumber: sweep }).scores
    })
    return hits
  }
  expect(hitsOf('cost-aware')).toBeGreaterThan(hitsOf('recency') * 1.05)
})
