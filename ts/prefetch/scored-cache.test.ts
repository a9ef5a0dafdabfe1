// What could break: a heap that loses a block or keeps a stale order, so that replays judge policies by a pool that does not exist.
// How we notice: reference-cache.ts is the second implementation, on random requests, scores, admissions, holds and warm lists.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { referenceCache } from './reference-cache.js'
import { scoredCache } from './scored-cache.js'

const nBlocks = 32
const blocksOf = (maxLength: number): fc.Arbitrary<number[]> => fc.uniqueArray(fc.nat(nBlocks - 1), { minLength: 1, maxLength })
const step = fc.oneof(
  fc.record({ kind: fc.constant('request' as const), blocks: blocksOf(12), admission: fc.constantFrom('normal' as const, 'normal' as const, 'keepHits' as const, 'bypass' as const) }),
  fc.record({ kind: fc.constant('hold' as const), blocks: blocksOf(4) }),
  fc.record({ kind: fc.constant('warm' as const), blocks: blocksOf(8) }),
  fc.record({ kind: fc.constant('scores' as const), seed: fc.nat(6) }),
)

test('it does what the specification says, also with requests larger than the pool', () => {
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), fc.integer({ min: 2, max: 14 }), (steps, slots) => {
    const spec = referenceCache(slots)
    const fast = scoredCache(slots, nBlocks)
    // Few different scores: ties are where two orders part.
    let scores = new Float32Array(nBlocks).fill(1)
    steps.forEach((one, sweep) => {
      if (one.kind === 'scores') scores = Float32Array.from({ length: nBlocks }, (_, block) => ((block * (one.seed + 3)) % 7) / 3)
      else if (one.kind === 'hold') for (const cache of [spec, fast]) cache.hold(one.blocks)
      else if (one.kind === 'warm') for (const cache of [spec, fast]) cache.warm(one.blocks, { scores, sweep })
      else {
        const expected = one.blocks.filter((block) => !spec.has(block))
        spec.request(one.blocks, { scores, sweep, admission: one.admission })
        expect(fast.request(one.blocks, { scores, sweep, admission: one.admission })).toEqual(expected)
      }
      expect(fast.clock).toBe(spec.clock)
      expect(fast.size).toBe(spec.residents.size)
      for (let block = 0; block < nBlocks; block++) expect(fast.priorityOf(block)).toBe(spec.priorityOf(block))
    })
  }), { numRuns: 300 })
})
