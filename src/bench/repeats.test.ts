// What could break: text that runs in circles is taken for text, or text for a circle.
// How we notice: circles of every length behind any beginning, and tokens that are all different.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { circleLength } from './repeats.js'

test('a circle is found, with its true length, whatever came before it', () => {
  fc.assert(fc.property(fc.array(fc.nat(50), { maxLength: 20 }), fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 12 }), (beginning, circle) => {
    const tokens = [...beginning]
    while (tokens.length < 2 * beginning.length + 4 * circle.length) tokens.push(circle[(tokens.length - beginning.length) % circle.length]!)
    expect(circleLength(tokens)).toBe(circle.length)
  }))
})

test('different tokens are no circle, and neither is one round of it', () => {
  fc.assert(fc.property(fc.uniqueArray(fc.nat(10_000), { minLength: 2, maxLength: 60 }), (tokens) => {
    expect(circleLength(tokens)).toBeUndefined()
  }))
  expect(circleLength([])).toBeUndefined()
})
