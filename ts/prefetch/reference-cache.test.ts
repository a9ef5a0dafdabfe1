// What could break: a specification that is wrong itself. How we notice: with equal scores it must be plain LRU, on a cyclic
// scan larger than the pool it must never hit, and whatever the trace no wanted block leaves and the clock never falls.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { referenceCache } from './reference-cache.js'

const equal = new Float32Array(64).fill(1)
const request = fc.uniqueArray(fc.nat(31), { minLength: 1, maxLength: 6 })
const trace = fc.array(request, { minLength: 1, maxLength: 80 })

test('equal scores are LRU', () => {
  fc.assert(fc.property(trace, fc.integer({ min: 6, max: 20 }), (requests, slots) => {
    const cache = referenceCache(slots)
    let recent: number[] = [] // least recent first
    requests.forEach((blocks, sweep) => {
      const hits = blocks.filter((block) => recent.includes(block))
      const evictions: number[] = []
      recent = [...recent.filter((block) => !hits.includes(block)), ...hits]
      for (const block of blocks.filter((wanted) => !hits.includes(wanted))) {
        if (recent.length >= slots) evictions.push(recent.shift()!)
        recent.push(block)
      }
      const outcome = cache.request(blocks, { scores: equal, sweep })
      expect(outcome.hits).toBe(hits.length)
      expect(outcome.evictions.map(({ block }) => block)).toEqual(evictions)
      expect([...cache.residents].sort()).toEqual([...recent].sort())
    })
  }))
})

test('a cyclic scan larger than the pool never hits, and a worthy block survives it', () => {
  const cache = referenceCache(8)
  let hits = 0
  for (let step = 0; step < 100; step++) hits += cache.request([step % 10], { scores: equal, sweep: step }).hits
  expect(hits).toBe(0)

  const scored = referenceCache(8)
  const scores = new Float32Array(64).fill(1)
  scores[63] = 30
  scored.request([63], { scores, sweep: 0 })
  for (let step = 0; step < 100; step++) scored.request([step % 10], { scores, sweep: step })
  expect(scored.residents.has(63)).toBe(true)
  // But not for ever: the clock ages it.
  for (let step = 100; step < 600; step++) scored.request([step % 10], { scores, sweep: step })
  expect(scored.residents.has(63)).toBe(false)
})

test('the clock never falls, a request keeps what it wants, the pool never overflows', () => {
  const scores = Float32Array.from({ length: 64 }, (_, block) => ((block * 7) % 5) / 2)
  const admissions = fc.constantFrom('normal' as const, 'keepHits' as const, 'bypass' as const)
  fc.assert(fc.property(fc.array(fc.tuple(request, admissions), { maxLength: 80 }), fc.integer({ min: 2, max: 12 }), fc.uniqueArray(fc.nat(31), { maxLength: 3 }), (requests, slots, held) => {
    const cache = referenceCache(slots)
    cache.hold(held)
    requests.forEach(([blocks, admission], sweep) => {
      const before = cache.clock
      const lastMissing = blocks.filter((block) => !cache.residents.has(block)).at(-1)
      const outcome = cache.request(blocks, { scores, sweep, admission })
      expect(outcome.hits + outcome.misses).toBe(blocks.length)
      expect(cache.clock).toBeGreaterThanOrEqual(before)
      expect(cache.residents.size).toBeLessThanOrEqual(slots)
      if (blocks.length <= slots) for (const block of blocks) expect(cache.residents.has(block)).toBe(true)
      for (const { priority } of outcome.evictions) expect(priority).toBeLessThanOrEqual(cache.clock)
      if (lastMissing !== undefined) expect(cache.residents.has(lastMissing)).toBe(true)
    })
  }))
})

test('held blocks leave last', () => {
  const cache = referenceCache(3)
  cache.request([1, 2, 3], { scores: equal, sweep: 0 })
  cache.hold([1])
  cache.request([4], { scores: equal, sweep: 1 })
  expect([...cache.residents].sort()).toEqual([1, 3, 4])
  cache.request([5, 6], { scores: equal, sweep: 2 })
  expect(cache.residents.has(1)).toBe(true)
  cache.request([7, 8, 9], { scores: equal, sweep: 3 })
  expect(cache.residents.has(1)).toBe(false)
})

test('prefill: what it read goes first, and with bypass its hits count for nothing', () => {
  for (const admission of ['keepHits', 'bypass'] as const) {
    const cache = referenceCache(4)
    cache.request([1, 2], { scores: equal, sweep: 0 })
    const before = cache.priorityOf(1)
    cache.request([1, 10, 11], { scores: equal, sweep: 1, admission })
    cache.request([3, 4], { scores: equal, sweep: 2 })
    expect([...cache.residents].sort((a, b) => a - b)).toEqual([1, 2, 3, 4])
    if (admission === 'bypass') expect(cache.priorityOf(1)).toBe(before)
  }
})

test('warming fills free slots and evicts nothing', () => {
  const cache = referenceCache(4)
  cache.request([1, 2], { scores: equal, sweep: 0 })
  cache.warm([1, 5, 6, 7], { scores: equal, sweep: 0 })
  expect([...cache.residents].sort()).toEqual([1, 2, 5, 6])
})
