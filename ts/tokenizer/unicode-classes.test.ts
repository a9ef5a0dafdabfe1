/**
 * What could break: a wrong class for some characters, which changes token ids of whole scripts.
 * How we notice: the engine's own \p{…} is a second table. It is newer, so it may know more characters than ours and
 * must agree on nearly all of the others; the few that Unicode moved since 15.1 are counted.
 */
import { expect, test } from 'vitest'
import { classes, classTable, toCodeText } from './unicode-classes.js'

test('classes agree with the engine, but for characters that are newer or were moved', () => {
  const table = classTable()
  const kinds: readonly (readonly [number, RegExp])[] = [
    [classes.letter, /\p{L}/u], [classes.number, /\p{N}/u], [classes.mark, /\p{M}/u], [classes.punctuation, /\p{P}/u], [classes.symbol, /\p{S}/u],
  ]
  let moved = 0
  for (let point = 0; point < 0x110000; point++) {
    if (point >= 0xd800 && point < 0xe000) continue
    const own = table[point]!
    if (own === classes.space) continue
    const character = String.fromCodePoint(point)
    const engine = kinds.find(([, pattern]) => pattern.test(character))?.[0] ?? classes.other
    if (own !== engine && own !== classes.other) moved++
  }
  expect(moved).toBeLessThan(16)
  expect(table.reduce((count, kind) => count + Number(kind === classes.letter), 0)).toBeGreaterThan(130_000)
})

test('whitespace is the set of the tokenizers, not that of \\s', () => {
  const spaces: number[] = []
  classTable().forEach((kind, point) => kind === classes.space && spaces.push(point))
  const engine = Array.from({ length: 0x110000 }, (_, point) => point).filter((point) => /\s/.test(String.fromCharCode(point)) && point < 0x10000)
  expect(spaces).toEqual([...engine.filter((point) => point !== 0xfeff), 0x85].sort((a, b) => a - b))
})

test('lone surrogates are U+FFFD, pairs are one character', () => {
  expect([...toCodeText('a\ud800b\udc00😀\ud83d').points.subarray(0, 6)]).toEqual([0x61, 0xfffd, 0x62, 0xfffd, 0x1f600, 0xfffd])
  expect(toCodeText('😀').length).toBe(1)
})
