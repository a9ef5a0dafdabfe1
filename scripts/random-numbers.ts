/**
 * Seeded random words in bulk: the same seed and name give the same bytes on every machine.
 *
 * The generator is sfc32 of PractRand (Chris Doty-Humphrey): four words of state, about a nanosecond per word.
 */
import { createHash } from 'node:crypto'

export class RandomWords {
  #a: number
  #b: number
  #c: number
  #counter: number

  constructor(seed: number, name: string) {
    const digest = createHash('sha256').update(`${seed}:${name}`).digest()
    this.#a = digest.readInt32LE(0)
    this.#b = digest.readInt32LE(4)
    this.#c = digest.readInt32LE(8)
    this.#counter = digest.readInt32LE(12)
  }

  fill(words: Uint32Array, count: number = words.length): void {
    let [a, b, c, counter] = [this.#a, this.#b, this.#c, this.#counter]
    for (let i = 0; i < count; i++) {
      const word = (((a + b) | 0) + counter) | 0
      counter = (counter + 1) | 0
      a = b ^ (b >>> 9)
      b = (c + (c << 3)) | 0
      c = (((c << 21) | (c >>> 11)) + word) | 0
      words[i] = word
    }
    this.#a = a
    this.#b = b
    this.#c = c
    this.#counter = counter
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.fill(one)
    return one[0]! / 0x1_0000_0000
  }

  /** A whole number from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1))
  }

  /** Normally distributed, mean 0, deviation 1 (Box and Muller 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }
}

const one = new Uint32Array(1)

/** IEEE half precision, rounded to nearest even, as its 16 bits. Values beyond its range become infinite. */
export function halfBits(value: number): number {
  floatView[0] = value
  const bits = wordView[0]!
  const sign = (bits >>> 16) & 0x8000
  const magnitude = Math.abs(floatView[0]!)
  if (!(magnitude < 65520)) return Number.isNaN(value) ? 0x7e00 : sign | 0x7c00
  // Below 2^-14 a half has steps of 2^-24; adding 0.5 makes a float round to exactly those, ties to even.
  if (magnitude < 2 ** -14) {
    floatView[0] = magnitude + 0.5
    return sign | (wordView[0]! - 0x3f000000)
  }
  wordView[0] = (bits & 0x7fffffff) + 0xfff + ((bits >>> 13) & 1)
  return sign | ((wordView[0]! - 0x38000000) >>> 13)
}

/** BF16, rounded to nearest even. */
export function bfloatBits(value: number): number {
  floatView[0] = value
  const bits = wordView[0]!
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

export function floatBits(value: number): number {
  floatView[0] = value
  return wordView[0]!
}

const floatView = new Float32Array(1)
const wordView = new Uint32Array(floatView.buffer)
