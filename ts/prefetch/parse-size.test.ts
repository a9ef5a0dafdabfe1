// What could break: "16G" taken for 16 bytes, "75%" for 75 bytes, a typing mistake for a tiny budget. How we notice: sizes are
// composed from amount and unit and must come back, everything else is refused with a suggestion that itself parses.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HypuraError } from '../base/errors.js'
import { formatSize, parseSize, resolveSize, sizeOption } from './parse-size.js'

test.each<[string | number, number]>([
  ['16MiB', 16 * 2 ** 20], ['2.4GB', 2_400_000_000], ['1 GiB', 2 ** 30], ['512kib', 2 ** 19], ['0.5TiB', 2 ** 39], ['123456', 123_456], [4096, 4096], ['.5kB', 500],
])('%s', (text, bytes) => expect(parseSize(text)).toEqual({ kind: 'bytes', bytes }))

test('shares and auto', () => {
  const machine = { totalBytes: 1000, autoBytes: 600 }
  expect(resolveSize(parseSize('75%'), machine)).toBe(750)
  expect(resolveSize(parseSize('auto'), machine)).toBe(600)
  expect(resolveSize(parseSize(' 7 '), machine)).toBe(7)
})

test.each([['16G', '16GiB'], ['16 gigs', '16GiB'], ['2,4GB', '2.4GB'], ['120%', '100%']])('%s suggests %s', (text, suggestion) => {
  expect(() => parseSize(text)).toThrow(suggestion)
  expect(parseSize(suggestion).kind).not.toBe('auto')
})

test.each([[''], ['much'], ['-1GiB'], ['0'], ['0%'], ['1e30TiB'], ['NaN'], ['Infinity'], [Number.NaN], [-5], ['1.2.3MiB'], ['MiB']])('%s is refused', (text) => {
  expect(() => parseSize(text)).toThrow(HypuraError)
})

test('what is shown for an option holds at least that much', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 45 }), (bytes) => {
    const parsed = parseSize(sizeOption(bytes))
    expect(parsed.kind === 'bytes' && parsed.bytes >= bytes && parsed.bytes < bytes + 2 ** 20).toBe(true)
  }))
  expect([900, 3 * 2 ** 29, 2 ** 40].map(formatSize)).toEqual(['900 B', '1.5 GiB', '1024 GiB'])
})
