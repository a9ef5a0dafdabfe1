// What could break: a block's layout is wrong or its scales are not what was asked for, so that generated models fade,
// blow up or are no valid files. How we notice: an independent, slow decoder of each type measures the weights.
import { expect, test } from 'vitest'
import { quantTypes } from '../ts/gguf/quant-types.js'
import { weightTypes, weightValues } from '../test/oracle/weight-values.js'
import { bfloatBits, halfBits } from './random-numbers.js'
import { weightChunks } from './random-weights.js'

const weights = 256 * 2048
const plan = { weights, deviation: 0.02, seed: 7, name: 'test' }

test.each(weightTypes)('type %i: mean, deviation and range of the weights', (type) => {
  const values: number[] = []
  for (const chunk of weightChunks({ ...plan, type })) for (const value of weightValues(type, chunk)) values.push(value)
  expect(values.length).toBe(weights)
  const mean = values.reduce((sum, value) => sum + value, 0) / weights
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / weights)
  console.log(`${quantTypes.get(type)!.name}: mean ${mean.toExponential(1)}, deviation ${deviation.toFixed(5)}`)
  expect(Math.abs(mean)).toBeLessThan(plan.deviation / 50)
  expect(Math.abs(deviation / plan.deviation - 1)).toBeLessThan(0.02)
  expect(values.every((value) => Math.abs(value) < 12 * plan.deviation)).toBe(true)
  // MXFP4 has fifteen values under two powers of two, of which many coincide.
  expect(new Set(values.slice(0, 4096)).size).toBeGreaterThan(quantTypes.get(type)!.name === 'MXFP4' ? 16 : 100)
})

test('Q8_0 has no weight of -128', () => {
  for (const chunk of weightChunks({ ...plan, type: 8 })) {
    for (let at = 0; at < chunk.length; at += 34) expect(chunk.subarray(at + 2, at + 34).includes(0x80)).toBe(false)
  }
})

test('tensors of another name or seed differ, the same ones agree', () => {
  const bytes = (change: object): string => Buffer.concat([...weightChunks({ ...plan, type: 12, weights: 4096, ...change })].map((chunk) => Buffer.from(chunk))).toString('hex')
  expect(bytes({})).toBe(bytes({}))
  expect(bytes({ name: 'other' })).not.toBe(bytes({}))
  expect(bytes({ seed: 8 })).not.toBe(bytes({}))
})

test('halves round like the format says', () => {
  const view = new DataView(new ArrayBuffer(2))
  const half = (bits: number): number => (view.setUint16(0, bits, true), weightValues(1, new Uint8Array(view.buffer))[0]!)
  const back = (value: number): number => half(halfBits(value))
  expect([0, 1, -2, 0.5, 65504, 2 ** -14, 2 ** -24, 2 ** -25, 3 * 2 ** -25].map(back)).toEqual([0, 1, -2, 0.5, 65504, 2 ** -14, 2 ** -24, 0, 2 ** -23])
  expect([back(65519), back(65520), back(-1e9), back(1 + 2 ** -11), back(1 + 3 * 2 ** -11)]).toEqual([65504, Infinity, -Infinity, 1, 1 + 2 ** -9])
  expect(halfBits(Number.NaN) & 0x7c00).toBe(0x7c00)
  // Every finite half is its own nearest half.
  for (let bits = 0; bits < 0x7c00; bits++) expect(halfBits(half(bits))).toBe(bits)
  expect([bfloatBits(1), bfloatBits(-1), bfloatBits(1 + 2 ** -8)]).toEqual([0x3f80, 0xbf80, 0x3f80])
})
