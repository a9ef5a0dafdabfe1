// What could break: a page cache that passes for a drive, or an alarm at every run.
// How we notice: the two counters are moved apart, from equal to nothing.
import { expect, test } from 'vitest'
import type { Repetition } from './repetition.js'
import { agreementOfBytes, driftOf, ratioOf } from './warnings.js'

const gib = 2 ** 30

test.each([
  [gib, gib, undefined], [gib, gib * 1.019, undefined], [gib, gib * 1.03, 'the system 1.0 GiB'], [gib, gib * 0.97, 'the engine counted 1.0 GiB'],
  [gib, gib * 0.89, 'page cache served 11 %'], [gib, 0, 'page cache served 100 %'], [1000, 0, 'page cache served 100 %'], [0, 5 * gib, undefined], [gib, null, undefined],
  [10 * 2 ** 20, 13 * 2 ** 20, undefined], // a small run: code was paged in
])('engine %d, system %d: %s', (engine, system, said) => {
  const found = agreementOfBytes(engine, system)
  if (said === undefined) expect(found).toBeUndefined()
  else expect(found).toContain(said)
})

test('drift compares the first round with itself, and with nothing else', () => {
  const test_ = { kind: 'tg', tokens: 4 } as const
  const round = (prompt: number, ms: number): Repetition => ({ test: test_, prompt, ms }) as Repetition
  const protocol = { depth: 0 } as Parameters<typeof driftOf>[0]['protocol']
  expect(driftOf({ repetitions: [round(0, 100), round(1, 500)], sentinel: [round(0, 125)], protocol })).toEqual([{ name: 'tg4', drift: expect.closeTo(-0.2, 9) as number }])
  expect(driftOf({ repetitions: [round(1, 100)], sentinel: [round(0, 125)], protocol })).toEqual([])
})

test('a ratio needs both sides', () => {
  expect([ratioOf([4, 6], [2, 3]), ratioOf([4], []), ratioOf([], [1])]).toEqual([2, undefined, undefined])
})
