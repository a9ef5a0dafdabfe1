/**
 * What the weights of a block are worth, straight from the formulas of the formats: float64, one weight at a time.
 *
 * A second implementation beside the kernels, and free of their arithmetic: nothing is rounded here but the half and
 * bfloat fields that the file itself holds, and those are exact in a float64. Slow, and only for comparisons.
 * @see docs/formats (layouts); ggml-common.h (block_q*)
 */
import { quantTypes } from '../../ts/gguf/quant-types.js'

/** Writes the block's weights to `out`, from element `at` on. */
type BlockReader = (block: DataView, out: Float64Array, at: number) => void

/** The weights of whole blocks. Throws a RangeError for types without a formula and for pieces of a block. */
export function weightValues(type: number, bytes: Uint8Array): Float64Array {
  const read = readers.get(type)
  const quant = quantTypes.get(type)
  if (read === undefined || quant === undefined) throw new RangeError(`no formula for weights of type ${quant?.name ?? type}`)
  const { blockBytes, blockWeights } = quant
  if (bytes.length % blockBytes !== 0) throw new RangeError(`${bytes.length} bytes are no whole blocks of ${blockBytes}`)
  const blocks = bytes.length / blockBytes
  const out = new Float64Array(blocks * blockWeights)
  for (let i = 0; i < blocks; i++) {
    read(new DataView(bytes.buffer, bytes.byteOffset + i * blockBytes, blockBytes), out, i * blockWeights)
  }
  return out
}

// ---- fields

function half(view: DataView, at: number): number {
  const bits = view.getUint16(at, true)
  const sign = bits < 0x8000 ? 1 : -1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

const float = (view: DataView, at: number): number => view.getFloat32(at, true)

function bfloat(view: DataView, at: number): number {
  const wide = new DataView(new ArrayBuffer(4))
  wide.setUint32(0, view.getUint16(at, true) * 65536)
  return wide.getFloat32(0)
}

/** `count` bits from bit `first` on, of bytes that begin at `at`; none of ours crosses a byte. */
function bits(view: DataView, at: number, first: number, count: number): number {
  return (view.getUint8(at + (first >> 3)) >> (first & 7)) & (2 ** count - 1)
}

// ---- 32 weights: d, maybe m, maybe fifth bits, then nibbles; byte i holds weights i and i + 16

const single = (read: (view: DataView, at: number) => number): BlockReader => (block, out, at) => {
  out[at] = read(block, 0)
}

function nibbles({ hasOffset, hasFifthBit, zero }: { hasOffset: boolean; hasFifthBit: boolean; zero: number }): BlockReader {
  const highAt = hasOffset ? 4 : 2
  const lowAt = highAt + (hasFifthBit ? 4 : 0)
  return (block, out, at) => {
    const d = half(block, 0)
    const m = hasOffset ? half(block, 2) : 0
    for (let i = 0; i < 32; i++) {
      const low = bits(block, lowAt, 8 * (i % 16) + (i < 16 ? 0 : 4), 4)
      const q = low + (hasFifthBit ? 16 * bits(block, highAt, i, 1) : 0)
      out[at + i] = d * (q - zero) + m
    }
  }
}

const q80: BlockReader = (block, out, at) => {
  const d = half(block, 0)
  for (let i = 0; i < 32; i++) out[at + i] = d * block.getInt8(2 + i)
}

// ---- 32 weights: nibbles into a table, placed as above

const iq4Values = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

const iq4nl: BlockReader = (block, out, at) => {
  const d = half(block, 0)
  for (let i = 0; i < 32; i++) out[at + i] = d * iq4Values[bits(block, 2, 8 * (i % 16) + (i < 16 ? 0 : 4), 4)]!
}

/** Four bits of a float: sign, two of exponent with bias 1, one of mantissa. */
function fp4(nibble: number): number {
  const [sign, exponent, mantissa] = [nibble >> 3, (nibble >> 1) & 3, nibble & 1]
  return (sign === 0 ? 1 : -1) * (exponent === 0 ? mantissa / 2 : (1 + mantissa / 2) * 2 ** (exponent - 1))
}

const mxfp4: BlockReader = (block, out, at) => {
  const scale = 2 ** (block.getUint8(0) - 127)
  for (let i = 0; i < 32; i++) out[at + i] = scale * fp4(bits(block, 1, 8 * (i % 16) + (i < 16 ? 0 : 4), 4))
}

// ---- 256 weights

/** Two bits of weight i in a field of 64 bytes: halves of 128 weights, byte l of a half holds weights l, l + 32, l + 64, l + 96. */
function twoBits(block: DataView, at: number, i: number): number {
  return bits(block, at + 32 * (i >> 7), 8 * (i & 31) + 2 * ((i >> 5) & 3), 2)
}

const q2k: BlockReader = (block, out, at) => {
  const d = half(block, 80)
  const dMin = half(block, 82)
  for (let i = 0; i < 256; i++) {
    const j = i >> 4
    out[at + i] = d * bits(block, 0, 8 * j, 4) * twoBits(block, 16, i) - dMin * bits(block, 0, 8 * j + 4, 4)
  }
}

const q3k: BlockReader = (block, out, at) => {
  const d = half(block, 108)
  for (let i = 0; i < 256; i++) {
    const j = i >> 4
    const scale = bits(block, 96, 8 * (j % 8) + (j < 8 ? 0 : 4), 4) + 16 * bits(block, 104, 8 * (j % 4) + 2 * (j >> 2), 2)
    const high = bits(block, 0, 8 * (i & 31) + (i >> 5), 1)
    out[at + i] = d * (scale - 32) * (twoBits(block, 32, i) + 4 * high - 4)
  }
}

/** Scale (or, with `isMin`, min) j of the twelve bytes at `at`: six bits whole for j < 4, else a nibble and two bits. */
function sixBits(block: DataView, at: number, j: number, isMin: boolean): number {
  if (j < 4) return bits(block, at + (isMin ? 4 : 0), 8 * j, 6)
  return bits(block, at + 8, 8 * (j - 4) + (isMin ? 4 : 0), 4) + 16 * bits(block, at + (isMin ? 4 : 0), 8 * (j - 4) + 6, 2)
}

function superBlock(hasFifthBit: boolean): BlockReader {
  const lowAt = hasFifthBit ? 48 : 16
  return (block, out, at) => {
    const d = half(block, 0)
    const dMin = half(block, 2)
    for (let i = 0; i < 256; i++) {
      const j = i >> 5
      const low = bits(block, lowAt + 32 * (j >> 1), 8 * (i & 31) + 4 * (j & 1), 4)
      const q = low + (hasFifthBit ? 16 * bits(block, 16, 8 * (i & 31) + j, 1) : 0)
      out[at + i] = d * sixBits(block, 4, j, false) * q - dMin * sixBits(block, 4, j, true)
    }
  }
}

const q6k: BlockReader = (block, out, at) => {
  const d = half(block, 208)
  for (let i = 0; i < 256; i++) {
    const group = (i >> 5) & 3
    const low = bits(block, 64 * (i >> 7) + 32 * (group & 1), 8 * (i & 31) + 4 * (group >> 1), 4)
    out[at + i] = d * block.getInt8(192 + (i >> 4)) * (low + 16 * twoBits(block, 128, i) - 32)
  }
}

const iq4xs: BlockReader = (block, out, at) => {
  const d = half(block, 0)
  for (let i = 0; i < 256; i++) {
    const j = i >> 5
    const scale = bits(block, 4, 4 * j, 4) + 16 * bits(block, 2, 2 * j, 2)
    out[at + i] = d * (scale - 32) * iq4Values[bits(block, 8 + 16 * j, 8 * (i % 16) + (i % 32 < 16 ? 0 : 4), 4)]!
  }
}

const readers: ReadonlyMap<number, BlockReader> = new Map([
  [0, single(float)],
  [1, single(half)],
  [2, nibbles({ hasOffset: false, hasFifthBit: false, zero: 8 })],
  [3, nibbles({ hasOffset: true, hasFifthBit: false, zero: 0 })],
  [6, nibbles({ hasOffset: false, hasFifthBit: true, zero: 16 })],
  [7, nibbles({ hasOffset: true, hasFifthBit: true, zero: 0 })],
  [8, q80],
  [10, q2k],
  [11, q3k],
  [12, superBlock(false)],
  [13, superBlock(true)],
  [14, q6k],
  [20, iq4nl],
  [23, iq4xs],
  [30, single(bfloat)],
  [39, mxfp4],
])

/** ggml ids of the types that have a formula. */
export const weightTypes: readonly number[] = [...readers.keys()]
