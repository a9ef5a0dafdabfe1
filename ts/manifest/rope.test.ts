// What could break: angles of long-context models, which go wrong slowly and far into a text. How we notice: each rule is
// written down a second time, straight from its formula, with numbers of well-known models.
import { expect, test } from 'vitest'
import { fakeModel } from '../../test/support/fake-model.js'
import { hyperParameters } from './hyper-parameters.js'
import { inverseFrequencies, noScaling, readFactors, readScaling, ropeMagnitude, type RopeScaling } from './rope.js'

const pairs = (nRot: number): number[] => Array.from({ length: nRot / 2 }, (_, i) => i)
const plain = (nRot: number, base: number): number[] => pairs(nRot).map((i) => 1 / Math.pow(base, (2 * i) / nRot))

function expectClose(found: Float64Array, wanted: readonly number[]): void {
  expect(found.length).toBe(wanted.length)
  wanted.forEach((angle, i) => expect(Math.abs(found[i]! / angle - 1)).toBeLessThan(1e-14))
}

test('without scaling: base^(-2i/n)', () => {
  expectClose(inverseFrequencies(128, 500_000, noScaling), plain(128, 500_000))
  expect(ropeMagnitude(noScaling)).toBe(1)
})

test('linear divides every angle', () => {
  const linear: RopeScaling = { ...noScaling, kind: 'linear', factor: 4 }
  expectClose(inverseFrequencies(64, 10_000, linear), plain(64, 10_000).map((angle) => angle / 4))
  expect(ropeMagnitude(linear)).toBe(1)
})

test('yarn keeps fast pairs, divides slow ones, and blends between by turns within the old context', () => {
  const [nRot, base, factor, context] = [128, 1_000_000, 4, 32_768]
  const scaling: RopeScaling = { ...noScaling, kind: 'yarn', factor, originalContext: context }
  const found = inverseFrequencies(nRot, base, scaling)
  // Pair i makes context * angle / 2 pi turns: bounds are where that is 32 and 1.
  const pairOfTurns = (turns: number): number => (nRot / 2) * (Math.log(context / (2 * Math.PI * turns)) / Math.log(base))
  const low = Math.floor(pairOfTurns(32))
  const high = Math.ceil(pairOfTurns(1))
  expect(low).toBeGreaterThan(0)
  const wanted = plain(nRot, base).map((angle, i) => {
    const slow = Math.min(1, Math.max(0, (i - low) / (high - low)))
    return (angle * slow) / factor + angle * (1 - slow)
  })
  expectClose(found, wanted)
  expect(found[0]).toBe(1)
  expect(found[63]! * factor).toBeCloseTo(plain(nRot, base)[63]!, 15)
  expect(ropeMagnitude(scaling)).toBeCloseTo(0.1 * Math.log(4) + 1, 15)
})

test('llama 3 factors divide each pair', async () => {
  const [nRot, base, context, factor] = [128, 500_000, 8192, 8]
  // The rule by which converters compute the tensor: wavelengths beyond the old context are divided, short ones kept.
  const factors = plain(nRot, base).map((angle) => {
    const wavelength = (2 * Math.PI) / angle
    if (wavelength < context / 4) return 1
    if (wavelength > context) return factor
    const smooth = (context / wavelength - 1) / (4 - 1)
    return 1 / ((1 - smooth) / factor + smooth)
  })
  const model = fakeModel({ metadata: {}, tensors: [{ name: 'rope_freqs.weight', dims: [64], values: factors }] })
  const read = (await readFactors(model, nRot))!
  const wanted = plain(nRot, base).map((angle, i) => angle / Math.fround(factors[i]!))
  expectClose(inverseFrequencies(nRot, base, noScaling, read), wanted)
  expect(Math.max(...factors)).toBe(8)
})

const scalingOf = (metadata: Record<string, string | number>): RopeScaling =>
  readScaling(hyperParameters(fakeModel({ metadata, tensors: [] }), 'llama'), 4096)

test('what files say about scaling', () => {
  expect(scalingOf({})).toEqual({ ...noScaling, kind: 'linear' })
  expect(scalingOf({ 'llama.rope.scale_linear': 2 }).factor).toBe(2)
  expect(scalingOf({ 'llama.rope.scaling.type': 'none', 'llama.rope.scaling.factor': 8 }).factor).toBe(1)
  expect(scalingOf({ 'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': 8 })).toEqual({
    ...noScaling, kind: 'yarn', factor: 8, originalContext: 4096,
  })
  expect(ropeMagnitude(scalingOf({ 'llama.rope.scaling.attn_factor': 1.5 }))).toBe(1.5)
})

test.each([['longrope'], ['dynamic']])('%s is refused by name', (kind) => {
  expect(() => scalingOf({ 'llama.rope.scaling.type': kind })).toThrow(new RegExp(kind))
})

test.each([[0], [-1], [Number.NaN], [Infinity]])('P7: a factor of %s is refused', (factor) => {
  expect(() => scalingOf({ 'llama.rope.scaling.factor': factor })).toThrow(/rope\.scaling\.factor/)
})
