// What could break: probabilities that are none, a memory that grows, a saved state that goes on differently or that a stranger made, a
// count that is wrong.
// How we notice: every predictor on random choices, one that was saved and restored beside one that was not, states with each field
// changed, counts against a plain sum, and chains that a relation must learn.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { predictorKind, predictors } from './index.js'
import type { Predictor, PredictorShape, PredictorState } from './predictor.js'
import { followersOf, learn, relationTable } from './relation-table.js'

const shape: PredictorShape = { layers: 3, nExpert: 8, nExpertUsed: 2 }
const choice = fc.uniqueArray(fc.nat(7), { minLength: 2, maxLength: 2 })
const step = fc.oneof({ weight: 9, arbitrary: fc.array(choice, { minLength: 3, maxLength: 3 }) }, { weight: 1, arbitrary: fc.constant('interrupt' as const) })
const steps = fc.array(step, { maxLength: 40 })

function feed(predictor: Predictor, one: readonly (readonly number[])[] | 'interrupt'): void {
  if (one === 'interrupt') predictor.interrupt()
  else one.forEach((experts, layer) => predictor.observe(layer, experts))
}
function guess(predictor: Predictor, layer: number): Float32Array {
  const into = new Float32Array(shape.nExpert)
  predictor.predict(layer, into)
  return into
}

test.each([...predictors.keys()])('%s: probabilities are such, the same twice, and go on the same after saving', (name) => {
  const kind = predictors.get(name)!
  fc.assert(fc.property(steps, steps, (before, after) => {
    const one = kind.create(shape)
    for (const some of before) feed(one, some)
    const saved = structuredClone(one.save())
    const other = kind.create(shape, saved)
    one.interrupt() // a state does not carry the token in work
    for (const some of after) {
      for (const predictor of [one, other]) feed(predictor, some)
      for (let layer = 0; layer < shape.layers; layer++) {
        const probabilities = guess(one, layer)
        for (const value of probabilities) expect(value >= 0 && value <= 1).toBe(true)
        expect(guess(other, layer)).toEqual(probabilities)
        expect(guess(one, layer)).toEqual(probabilities) // asking changes nothing
      }
    }
    expect(other.save()).toEqual(one.save())
  }), { numRuns: 30 })
})

test.each([...predictors.keys()])('%s: its size does not depend on what it saw', (name) => {
  const bytesOf = (state: PredictorState): number => Object.values(state.numbers).reduce((sum, { byteLength }) => sum + byteLength, 0)
  const predictor = predictors.get(name)!.create(shape)
  const before = bytesOf(predictor.save())
  for (let token = 0; token < 3000; token++) feed(predictor, [[token % 8, (token + 1) % 8], [(token * 3) % 8, (token * 3 + 1) % 8], [token % 5, 5 + (token % 3)]])
  const state = predictor.save()
  expect(bytesOf(state)).toBe(before)
  for (const values of Object.values(state.numbers)) for (const value of values) expect(Number.isFinite(value)).toBe(true)
})

/** Experts that a predictor names first. */
const best = (predictor: Predictor, layer: number): number[] => {
  const probabilities = guess(predictor, layer)
  return [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!).slice(0, 2).sort((a, b) => a - b)
}

test('each relation learns the chain it is for', () => {
  let seed = 3
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) % 4
  const byLayer = predictorKind('previous-layer').create(shape)
  const byToken = predictorKind('previous-token').create(shape)
  const joined = predictorKind('markov').create(shape)
  for (let token = 0; token < 400; token++) {
    const [first, second] = [random() * 2, token % 4 * 2]
    // Layer 1 follows layer 0 of the same token, layer 2 its own choice of the token before.
    for (const predictor of [byLayer, byToken, joined]) feed(predictor, [[first, first + 1], [(first + 2) % 8, (first + 3) % 8], [second, second + 1]])
  }
  for (const predictor of [byLayer, byToken, joined]) predictor.observe(0, [4, 5])
  for (const predictor of [byLayer, joined]) expect(best(predictor, 1)).toEqual([6, 7])
  for (const predictor of [byLayer, byToken, joined]) predictor.observe(1, [6, 7])
  for (const predictor of [byToken, joined]) expect(best(predictor, 2)).toEqual([0, 1])
})

test('a row counts exactly while it has room, and keeps what is common when it has not', () => {
  fc.assert(fc.property(fc.array(choice, { maxLength: 200 }), (choices) => {
    const table = relationTable(2, 8)
    for (const experts of choices) learn(table, 1, experts)
    const counted = new Map<number, number>()
    followersOf(table, 1, (expert, count) => counted.set(expert, count))
    for (let expert = 0; expert < 8; expert++) expect(counted.get(expert) ?? 0).toBe(choices.filter((experts) => experts.includes(expert)).length)
    followersOf(table, 0, () => expect.unreachable('a row that nobody taught'))
  }))
  const wide = relationTable(1, 4096)
  for (let i = 0; i < 500; i++) learn(wide, 0, [7, 100 + i])
  const kept = new Map<number, number>()
  followersOf(wide, 0, (expert, count) => kept.set(expert, count))
  expect(kept.size).toBeLessThanOrEqual(32)
  expect(Math.max(...kept.values())).toBe(kept.get(7))
})

test('a state that another model, another version or a stranger made is refused by field', () => {
  const kind = predictorKind('markov')
  const taught = kind.create(shape)
  for (let token = 0; token < 50; token++) feed(taught, [[token % 8, (token + 1) % 8], [1, 2], [3, 4]])
  const good = taught.save()
  expect(() => kind.create(shape, good)).not.toThrow()
  const withNumbers = (key: string, values: unknown): PredictorState => ({ ...good, numbers: { ...good.numbers, [key]: values as Float32Array } })
  const changed = (key: string, at: number, value: number): PredictorState => {
    const values = good.numbers[key]!.slice()
    values[at] = value
    return withNumbers(key, values)
  }
  const bad: readonly (readonly [PredictorState, string])[] = [
    [{ ...good, name: 'popular' }, 'name'], [{ ...good, format: 2 }, 'format'], [{ ...good, shape: { ...shape, nExpert: 9 } }, 'shape.nExpert'],
    [{ ...good, shape: undefined } as unknown as PredictorState, 'shape.layers'], [{ ...good, numbers: undefined } as unknown as PredictorState, 'numbers.uses'],
    [withNumbers('counts0', good.numbers['counts0']!.subarray(1)), 'numbers.counts0'], [withNumbers('totals1', [1, 2]), 'numbers.totals1'],
    [withNumbers('followers0', good.numbers['counts0']), 'numbers.followers0'], [changed('followers1', 3, 8), 'numbers.followers1'],
    [changed('uses', 0, NaN), 'numbers.uses'], [changed('totals', 0, -1), 'numbers.totals'], [changed('counts1', 5, Infinity), 'numbers.counts1'],
  ]
  for (const [state, field] of bad) expect(() => kind.create(shape, state), field).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_INVALID_ARGUMENT', message: expect.stringContaining(field) as string }) as Error)
  expect(() => predictorKind('markof')).toThrow(/did you mean "markov"/)
})
