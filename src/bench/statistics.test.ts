// What could break: a deviation over n instead of n - 1, a quantile off by one rank, a mean of speeds where one of times is meant.
// How we notice: second implementations: sums over pairs, and the definition of a quantile by counting.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { deviation, mean, median, quantile, speedSpread } from './statistics.js'

const values = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 })

test('the deviation is half the mean square of all differences', () => {
  fc.assert(fc.property(values, (list) => {
    let sum = 0
    for (const a of list) for (const b of list) sum += (a - b) ** 2
    const expected = list.length < 2 ? 0 : Math.sqrt(sum / (2 * list.length * (list.length - 1)))
    expect(deviation(list)).toBeCloseTo(expected, Math.max(0, 8 - Math.ceil(Math.log10(1 + expected))))
    expect(mean(list)).toBeGreaterThanOrEqual(Math.min(...list) * (1 - 1e-12))
  }))
})

test('a quantile has its share of the values on either side', () => {
  fc.assert(fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
    const found = quantile(list, share)
    const slack = 1e-9 * Math.abs(found)
    expect(list.filter((value) => value < found - slack).length).toBeLessThanOrEqual(Math.ceil(share * (list.length - 1)))
    expect(list.filter((value) => value > found + slack).length).toBeLessThanOrEqual(Math.ceil((1 - share) * (list.length - 1)))
  }))
  expect([quantile([4, 1, 3, 2], 0), median([4, 1, 3, 2]), quantile([4, 1, 3, 2], 1), median([7])]).toEqual([1, 2.5, 4, 7])
})

test('speeds are those of single tokens, the slow ones first; without time there is no speed', () => {
  expect(speedSpread([100, 100, 100, 1000])).toEqual({ p10: expect.closeTo(3.7, 6) as number, p50: 10, p90: 10 })
  expect(speedSpread([])).toBeUndefined()
  expect(speedSpread([0])).toBeUndefined()
})
