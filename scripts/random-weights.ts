/**
 * Random weights in the file's own layout, made directly: random bytes for the quants, plausible scales around them.
 *
 * The weights of a tensor have mean 0 (or `mean`, for float types) and the standard deviation asked for, spread evenly
 * for the quantised types. Nothing is quantised, so gigabytes take seconds; 4 MiB of memory per tensor.
 * Layouts: docs/kernels.md and ggml-common.h.
 */
import { quantTypes } from '../ts/gguf/quant-types.js'
import { bfloatBits, floatBits, halfBits, RandomWords } from './random-numbers.js'

export interface WeightPlan {
  /** ggml type id: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K .. Q6_K, IQ4_NL, IQ4_XS, MXFP4. */
  readonly type: number
  readonly weights: number
  readonly deviation: number
  /** Float types only. */
  readonly mean?: number
  readonly seed: number
  /** Tensors of different names differ. */
  readonly name: string
}

const chunkBytesMax = 4 << 20
/** Different scale groups per tensor; a block draws one of them. */
const headCount = 1024
const normalCount = 65_536

/** The tensor's bytes, in chunks of at most 4 MiB that share one buffer. */
export function weightChunks(plan: WeightPlan): Iterable<Uint8Array> {
  return floatEncoders.has(plan.type) ? floatChunks(plan) : blockChunks(plan)
}

// ---- float types: a table of normal values in the type's own bits, drawn by random 16-bit indices

const floatEncoders: ReadonlyMap<number, { bytes: 2 | 4; encode: (value: number) => number }> = new Map([
  [0, { bytes: 4, encode: floatBits }],
  [1, { bytes: 2, encode: halfBits }],
  [30, { bytes: 2, encode: bfloatBits }],
])

function* floatChunks({ type, weights, deviation, mean = 0, seed, name }: WeightPlan): Generator<Uint8Array> {
  const { bytes, encode } = floatEncoders.get(type)!
  const table = normalTable()
  const bits = new Uint32Array(normalCount)
  for (let i = 0; i < normalCount; i++) bits[i] = encode(mean + deviation * table[i]!)
  const random = new RandomWords(seed, name)
  const perChunk = Math.min(chunkBytesMax / bytes, weights)
  const words = new Uint32Array(Math.ceil(perChunk / 2))
  const indices = new Uint16Array(words.buffer)
  const out = bytes === 4 ? new Uint32Array(perChunk) : new Uint16Array(perChunk)
  for (let done = 0; done < weights; done += perChunk) {
    const count = Math.min(perChunk, weights - done)
    random.fill(words, Math.ceil(count / 2))
    for (let i = 0; i < count; i++) out[i] = bits[indices[i]!]!
    yield new Uint8Array(out.buffer, 0, count * bytes)
  }
}

let normals: Float64Array | undefined
function normalTable(): Float64Array {
  const random = new RandomWords(0, 'normal table')
  normals ??= Float64Array.from({ length: normalCount }, () => random.normal())
  return normals
}

// ---- block types: random words, then each block's scales are stamped over them

/** One stretch of a block that must not be random, in words. */
interface Region { readonly at: number; readonly words: number }

interface BlockRecipe {
  /** Words are of 16 bits, of 8 where blocks have an odd number of bytes. */
  readonly bytewise?: boolean
  readonly regions: readonly Region[]
  /** The words of all regions of one block, for weights of deviation 1 (before its jitter). */
  head(random: RandomWords, deviation: number): number[]
  /** No byte may be -128: writers of Q8_0 never produce it. */
  readonly signedBytes?: boolean
}

function* blockChunks({ type, weights, deviation, seed, name }: WeightPlan): Generator<Uint8Array> {
  const recipe = recipes.get(type)
  const quant = quantTypes.get(type)!
  if (recipe === undefined) throw new RangeError(`no generator for ${quant.name} weights`)
  const random = new RandomWords(seed, name)
  const heads = headTable(recipe, random, deviation)
  const blocks = weights / quant.blockWeights
  // An even number of blocks keeps each chunk a multiple of four bytes.
  const perChunk = Math.min(2 * Math.floor(chunkBytesMax / quant.blockBytes / 2), blocks)
  const words = new Uint32Array(Math.ceil((perChunk * quant.blockBytes) / 4))
  for (let done = 0; done < blocks; done += perChunk) {
    const count = Math.min(perChunk, blocks - done)
    random.fill(words, Math.ceil((count * quant.blockBytes) / 4))
    if (recipe.signedBytes === true) avoidLeastByte(words)
    const units = recipe.bytewise === true ? new Uint8Array(words.buffer) : new Uint16Array(words.buffer)
    stampHeads(units, count, quant.blockBytes / units.BYTES_PER_ELEMENT, recipe.regions, heads)
    yield new Uint8Array(words.buffer, 0, count * quant.blockBytes)
  }
}

function headTable(recipe: BlockRecipe, random: RandomWords, deviation: number): Uint16Array {
  return Uint16Array.from(Array.from({ length: headCount }, () => recipe.head(random, deviation)).flat())
}

function stampHeads(units: Uint16Array | Uint8Array, blocks: number, blockWords: number, regions: readonly Region[], heads: Uint16Array): void {
  const headWords = heads.length / headCount
  const drawAt = regions[0]!.at
  for (let block = 0, base = 0; block < blocks; block++, base += blockWords) {
    let from = (units[base + drawAt]! & (headCount - 1)) * headWords
    for (const { at, words } of regions) {
      for (let i = 0; i < words; i++) units[base + at + i] = heads[from++]!
    }
  }
}

/** Sets the low bits of each word in which some byte is 0x80. */
function avoidLeastByte(words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) {
    const flipped = words[i]! ^ 0x80808080
    if (((flipped - 0x01010101) & ~flipped & 0x80808080) !== 0) words[i] = words[i]! | 0x01010101
  }
}

// ---- recipes: d such that the mean square of all weights is deviation^2

/** Mean of x^2 for whole numbers from low to high. */
function meanSquare(low: number, high: number): number {
  const count = high - low + 1
  return ((low + high) / 2) ** 2 + (count * count - 1) / 12
}

/** Scales vary by a fifth from block to block; the mean square of the factor is 1. */
function jitter(random: RandomWords): number {
  return (0.8 + 0.4 * random.uniform()) / Math.sqrt(1 + 0.16 / 12)
}

function sign(random: RandomWords): number {
  return random.uniform() < 0.5 ? -1 : 1
}

/** d with a random sign, so that quants whose range is not symmetric still give weights of mean 0. */
function signedScale(at: number, low: number, high: number): BlockRecipe {
  const unit = Math.sqrt(meanSquare(low, high))
  return {
    regions: [{ at, words: 1 }],
    head: (random, deviation) => [halfBits((sign(random) * jitter(random) * deviation) / unit)],
  }
}

/** d and m for quants from 0 to `high`: weights d q + m around 0. */
function scaleAndOffset(high: number): BlockRecipe {
  const unit = Math.sqrt(meanSquare(0, high) - (high / 2) ** 2)
  return {
    regions: [{ at: 0, words: 2 }],
    head: (random, deviation) => {
      const d = (sign(random) * jitter(random) * deviation) / unit
      return [halfBits(d), halfBits((-d * high) / 2)]
    },
  }
}

/** Q4_K and Q5_K: d, dmin and twelve bytes of eight 6-bit scales and mins; mins follow the scales closely. */
function superBlock(high: number): BlockRecipe {
  const middle = high / 2
  const unit = Math.sqrt(meanSquare(32, 61) * (meanSquare(0, high) - middle ** 2) + middle ** 2 * meanSquare(-2, 2))
  return {
    regions: [{ at: 0, words: 8 }],
    head: (random, deviation) => {
      const d = (jitter(random) * deviation) / unit
      const scales = Array.from({ length: 8 }, () => random.integer(32, 61))
      const mins = scales.map((scale) => scale + random.integer(-2, 2))
      return [halfBits(d), halfBits(d * middle), ...toWords(packSixBits(scales, mins))]
    },
  }
}

/** Eight scales and eight mins in twelve bytes: the first four whole, the others cut into low nibble and top bits. */
function packSixBits(scales: readonly number[], mins: readonly number[]): number[] {
  const bytes = new Array<number>(12)
  for (let j = 0; j < 4; j++) {
    bytes[j] = scales[j]! | ((scales[j + 4]! >> 4) << 6)
    bytes[j + 4] = mins[j]! | ((mins[j + 4]! >> 4) << 6)
    bytes[j + 8] = (scales[j + 4]! & 15) | ((mins[j + 4]! & 15) << 4)
  }
  return bytes
}

function toWords(bytes: readonly number[]): number[] {
  return Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i]! & 255) | ((bytes[2 * i + 1]! & 255) << 8))
}

const q2k: BlockRecipe = {
  // 16 bytes of scale and min nibbles, 64 bytes of quants, d, dmin. Equal nibbles centre the weights.
  regions: [{ at: 0, words: 8 }, { at: 40, words: 2 }],
  head: (random, deviation) => {
    const d = (jitter(random) * deviation) / Math.sqrt(meanSquare(8, 15) * (meanSquare(0, 3) - 1.5 ** 2))
    const scales = Array.from({ length: 16 }, () => 0x11 * random.integer(8, 15))
    return [...toWords(scales), halfBits(d), halfBits(1.5 * d)]
  },
}

const q6k: BlockRecipe = {
  // 192 bytes of quants, then sixteen int8 scales of either sign, then d.
  regions: [{ at: 96, words: 9 }],
  head: (random, deviation) => {
    const d = (jitter(random) * deviation) / Math.sqrt(meanSquare(64, 127) * meanSquare(-32, 31))
    const scales = Array.from({ length: 16 }, () => sign(random) * random.integer(64, 127))
    return [...toWords(scales), halfBits(d)]
  },
}

const q3k: BlockRecipe = {
  // Any twelve bytes are sixteen valid scales from -32 to 31; only d, at the end, is stamped.
  regions: [{ at: 54, words: 1 }],
  head: (random, deviation) => [halfBits((sign(random) * jitter(random) * deviation) / Math.sqrt(meanSquare(-32, 31) * meanSquare(-4, 3)))],
}

/** The values that nibbles stand for: d so that their mean square under it is deviation^2. */
const iq4Values = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
const fp4Values = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

function meanSquareOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value * value, 0) / values.length
}

/** IQ4_NL, and IQ4_XS with scales from -32 to 31, for which any six bytes do: only d is stamped. */
function tableScale(scaleSquare: number): BlockRecipe {
  return {
    regions: [{ at: 0, words: 1 }],
    head: (random, deviation) => [halfBits((sign(random) * jitter(random) * deviation) / Math.sqrt(scaleSquare * meanSquareOf(iq4Values)))],
  }
}

const mxfp4: BlockRecipe = {
  bytewise: true,
  regions: [{ at: 0, words: 1 }],
  // d is a power of two, 2^(e - 128): of the two around the wanted one, in the shares that give its square on average.
  head: (random, deviation) => {
    const exponent = Math.log2(deviation / Math.sqrt(meanSquareOf(fp4Values)))
    const below = Math.floor(exponent)
    const shareAbove = (4 ** (exponent - below) - 1) / 3
    return [below + 128 + (random.uniform() < shareAbove ? 1 : 0)]
  },
}

const recipes: ReadonlyMap<number, BlockRecipe> = new Map([
  [2, signedScale(0, -8, 7)],
  [3, scaleAndOffset(15)],
  [6, signedScale(0, -16, 15)],
  [7, scaleAndOffset(31)],
  [8, { ...signedScale(0, -127, 127), signedBytes: true }],
  [10, q2k],
  [11, q3k],
  [12, superBlock(15)],
  [13, superBlock(31)],
  [14, q6k],
  [20, tableScale(1)],
  [23, tableScale(meanSquare(-32, 31))],
  [39, mxfp4],
])
