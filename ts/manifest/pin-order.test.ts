// What could break: pinned bands that lie in a lump, so that compute and reads take turns. How we notice: for every prefix
// the streamed bands before each position are counted and compared with a straight line.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pinOrder } from './pin-order.js'

test('the worked example', () => {
  expect([...pinOrder(6)]).toEqual([0, 4, 2, 1, 5, 3])
  expect([...pinOrder(1)]).toEqual([0])
  expect(pinOrder(0).length).toBe(0)
})

test('every position once', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 3000 }), (nBands) => {
    expect([...pinOrder(nBands)].sort((a, b) => a - b)).toEqual(Array.from({ length: nBands }, (_, i) => i))
  }), { numRuns: 50 })
})

/** Largest distance between streamed bands so far and an even share of them. */
function unevenness(nBands: number, pinCount: number): number {
  const pinned = new Set(pinOrder(nBands).subarray(0, pinCount))
  let streamed = 0
  let worst = 0
  for (let position = 0; position < nBands; position++) {
    if (!pinned.has(position)) streamed++
    worst = Math.max(worst, Math.abs(streamed - ((position + 1) * (nBands - pinCount)) / nBands))
  }
  return worst
}

test('every prefix of 1,120 bands is spread to within 3 of a straight line', () => {
  for (let pinCount = 0; pinCount <= 1120; pinCount += 35) expect(unevenness(1120, pinCount)).toBeLessThan(3)
})

test('the spread grows with the logarithm of the bands at most', () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 2000 }), fc.double({ min: 0, max: 1, noNaN: true }), (nBands, share) => {
    expect(unevenness(nBands, Math.floor(nBands * share))).toBeLessThan(1 + Math.log2(nBands) / 2)
  }), { numRuns: 100 })
})
