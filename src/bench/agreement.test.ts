// What could break: answers that differ are called equal: in a late token, in length, or because the wrong ones were compared.
// How we notice: one token of one answer is changed at every place, for every pair.
import { expect, test } from 'vitest'
import { requireAgreement } from './agreement.js'
import type { Repetition } from './repetition.js'
import type { Test } from './tests.js'

const tg: Test = { kind: 'tg', tokens: 4 }
const pp: Test = { kind: 'pp', tokens: 8 }
const answer = (test_: Test, prompt: number, tokens: readonly number[]): Repetition => ({ test: test_, prompt, tokens }) as Repetition

test('equal answers to the same prompt agree, and are counted once per pair', () => {
  const all = [answer(tg, 0, [1, 2, 3, 4]), answer(tg, 1, [5, 6, 7, 8]), answer(pp, 0, [9])]
  const again = [answer(tg, 0, [1, 2, 3, 4]), answer(pp, 0, [9])]
  expect(requireAgreement(all, again, 'x')).toEqual({ comparisons: 2, tokens: 5 })
  expect(requireAgreement(all, all, 'x')).toEqual({ comparisons: 0, tokens: 0 }) // an answer is no proof of itself
})

test.each([0, 1, 2, 3])('another token at place %i is found, and named', (at) => {
  const tokens = [1, 2, 3, 4]
  const other = tokens.with(at, 99)
  expect(() => requireAgreement([answer(tg, 3, tokens)], [answer(tg, 3, other)], 'when it was asked again'))
    .toThrow(expect.objectContaining({ code: 'ERR_HYPURA_BUG', details: expect.objectContaining({ at, prompt: 3, found: `token ${at + 1}`, expected: 'token 99' }) as unknown }) as Error)
})

test('a shorter and a longer answer differ', () => {
  for (const other of [[1, 2, 3], [1, 2, 3, 4, 5]]) expect(() => requireAgreement([answer(tg, 0, [1, 2, 3, 4])], [answer(tg, 0, other)], 'x')).toThrow(/token/)
})
