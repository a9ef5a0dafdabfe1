// What could break: a block's layout is wrong or its scales are not what was asked for, so that generated models fade,
// blow up or are no valid files. How we notice: an independent, slow decoder of each type measures the weights.
import { expect, test } from 'vitest'
import { quantTypes } from '../ts/gguf/quant-types.js'
import { bfloatBits, halfBits } from './random-numbers.js'
import { weightChunks } from './random-weights.js'

const weights = 256 * 2048
const plan = { weights, deviation: 0.02, seed: 7, name: 'test' }

const half = (bytes: DataView, at: number): number => {
  const bits = bytes.getUint16(at, true)
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? Infinity : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return bits & 0x8000 ? -magnitude : magnitude
}
const nibble = (bytes: DataView, at: number, i: number): number => (i < 16 ? bytes.getUint8(at + i) & 15 : bytes.getUint8(at + i - 16) >> 4)

/** Scale and min of sub-block j of a Q4_K or Q5_K block. */
function scaleMin(bytes: DataView, at: number, j: number): [number, number] {
  const byte = (i: number): number => bytes.getUint8(at + i)
  return j < 4 ? [byte(j) & 63, byte(j + 4) & 63] : [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)]
}

const decoders: Readonly<Record<string, (bytes: DataView, at: number, i: number) => number>> = {
  F32: (b, at) => b.getFloat32(at, true),
  F16: half,
  BF16: (b, at) => new Float32Array(Uint32Array.of(b.getUint16(at, true) << 16).buffer)[0]!,
  Q4_0: (b, at, i) => half(b, at) * (nibble(b, at + 2, i) - 8),
  Q4_1: (b, at, i) => half(b, at) * nibble(b, at + 4, i) + half(b, at + 2),
  Q5_0: (b, at, i) => half(b, at) * ((nibble(b, at + 6, i) | (((b.getUint32(at + 2, true) >>> i) & 1) << 4)) - 16),
  Q5_1: (b, at, i) => half(b, at) * (nibble(b, at + 8, i) | (((b.getUint32(at + 4, true) >>> i) & 1) << 4)) + half(b, at + 2),
  Q8_0: (b, at, i) => half(b, at) * b.getInt8(at + 2 + i),
  Q2_K: (b, at, i) => {
    const scale = b.getUint8(at + (i >> 4))
    const q = (b.getUint8(at + 16 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3
    return half(b, at + 80) * (scale & 15) * q - half(b, at + 82) * (scale >> 4)
  },
  Q3_K: (b, at, i) => {
    const j = i >> 4
    const low = j < 8 ? b.getUint8(at + 96 + j) & 15 : b.getUint8(at + 96 + j - 8) >> 4
    const scale = (low | (((b.getUint8(at + 104 + (j & 3)) >> (2 * (j >> 2))) & 3) << 4)) - 32
    const q = (b.getUint8(at + 32 + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3
    return half(b, at + 108) * scale * (q - ((b.getUint8(at + (i & 31)) >> (i >> 5)) & 1 ? 0 : 4))
  },
  Q4_K: (b, at, i) => {
    const j = i >> 5
    const byte = b.getUint8(at + 16 + 32 * (j >> 1) + (i & 31))
    const [scale, min] = scaleMin(b, at + 4, j)
    return half(b, at) * scale * (j & 1 ? byte >> 4 : byte & 15) - half(b, at + 2) * min
  },
  Q5_K: (b, at, i) => {
    const j = i >> 5
    const byte = b.getUint8(at + 48 + 32 * (j >> 1) + (i & 31))
    const high = (b.getUint8(at + 16 + (i & 31)) >> j) & 1
    const [scale, min] = scaleMin(b, at + 4, j)
    return half(b, at) * scale * ((j & 1 ? byte >> 4 : byte & 15) | (high << 4)) - half(b, at + 2) * min
  },
  Q6_K: (b, at, i) => {
    const [part, g, l] = [i >> 7, (i >> 5) & 3, i & 31]
    const low = b.getUint8(at + 64 * part + 32 * (g & 1) + l)
    const high = (b.getUint8(at + 128 + 32 * part + l) >> (2 * g)) & 3
    return half(b, at + 208) * b.getInt8(at + 192 + (i >> 4)) * (((g < 2 ? low & 15 : low >> 4) | (high << 4)) - 32)
  },
}

const supported = [...quantTypes].filter(([, { name }]) => name in decoders)

test.each(supported)('type %i: mean, deviation and range of the weights', (type, { name, blockWeights, blockBytes }) => {
  const values: number[] = []
  for (const chunk of weightChunks({ ...plan, type })) {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
    for (let at = 0; at < chunk.length; at += blockBytes) for (let i = 0; i < blockWeights; i++) values.push(decoders[name]!(view, at, i))
  }
  expect(values.length).toBe(weights)
  const mean = values.reduce((sum, value) => sum + value, 0) / weights
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / weights)
  console.log(`${name}: mean ${mean.toExponential(1)}, deviation ${deviation.toFixed(5)}`)
  expect(Math.abs(mean)).toBeLessThan(plan.deviation / 50)
  expect(Math.abs(deviation / plan.deviation - 1)).toBeLessThan(0.02)
  expect(values.every((value) => Math.abs(value) < 12 * plan.deviation)).toBe(true)
  expect(new Set(values.slice(0, 4096)).size).toBeGreaterThan(100)
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
  const back = (value: number): number => (view.setUint16(0, halfBits(value), true), half(view, 0))
  expect([0, 1, -2, 0.5, 65504, 2 ** -14, 2 ** -24, 2 ** -25, 3 * 2 ** -25].map(back)).toEqual([0, 1, -2, 0.5, 65504, 2 ** -14, 2 ** -24, 0, 2 ** -23])
  expect([back(65519), back(65520), back(-1e9), back(1 + 2 ** -11), back(1 + 3 * 2 ** -11)]).toEqual([65504, Infinity, -Infinity, 1, 1 + 2 ** -9])
  expect(halfBits(Number.NaN) & 0x7c00).toBe(0x7c00)
  // Every finite half is its own nearest half.
  for (let bits = 0; bits < 0x7c00; bits++) {
    view.setUint16(0, bits, true)
    expect(halfBits(half(view, 0))).toBe(bits)
  }
  expect([bfloatBits(1), bfloatBits(-1), bfloatBits(1 + 2 ** -8)]).toEqual([0x3f80, 0xbf80, 0x3f80])
})
