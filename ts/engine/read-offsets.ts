/**
 * Where a measurement reads: a seeded shuffle of a file's blocks, and a memory of what was read before, because a place that is
 * read twice may come from a cache that nobody sees (the drive's, or a host's behind a virtual one).
 *
 * Pure: the same arguments give the same offsets.
 */

/** The least unit of direct reads; offsets are multiples of it. */
const pageBytes = 4096
/** Of the bits that remember a file: 2 MiB of memory. */
const granulesMax = 2 ** 24

/** Parts of one file that were read, remembered in granules of 4 KiB (more for files beyond 64 GiB). */
export class OffsetSet {
  readonly #granuleBytes: number
  readonly #bits: Uint32Array

  /** @param fileBytes size of the file that offsets lie in */
  constructor(fileBytes: number) {
    let granuleBytes = pageBytes
    while (fileBytes / granuleBytes > granulesMax) granuleBytes *= 2
    this.#granuleBytes = granuleBytes
    this.#bits = new Uint32Array(Math.ceil(Math.ceil(fileBytes / granuleBytes) / 32) + 1)
  }

  add(offset: number, bytes: number): void {
    this.#each(offset, bytes, (word, bit) => (this.#bits[word]! |= bit))
  }

  /** Share of these bytes that lie in remembered granules, 0 .. 1. */
  shareOf(offset: number, bytes: number): number {
    let all = 0
    let known = 0
    this.#each(offset, bytes, (word, bit) => {
      all++
      if ((this.#bits[word]! & bit) !== 0) known++
    })
    return all === 0 ? 0 : known / all
  }

  #each(offset: number, bytes: number, visit: (word: number, bit: number) => void): void {
    const last = Math.min(Math.ceil((offset + bytes) / this.#granuleBytes), this.#bits.length * 32)
    for (let i = Math.floor(offset / this.#granuleBytes); i < last; i++) visit(i >>> 5, 1 << (i & 31))
  }
}

export interface OffsetRequest {
  readonly fileBytes: number
  /** Multiple of 4,096. */
  readonly blockBytes: number
  /** Offsets wanted; fewer come when the file has fewer blocks. */
  readonly count: number
  readonly seed: number
  readonly avoid?: OffsetSet | undefined
}

/** Draws per offset wanted before blocks that were read already are taken. */
const drawsPerOffset = 4

/**
 * Begins of different whole blocks in random order, those outside `avoid` first. A file shorter than a block has one, which is
 * short; the tail of a longer file is left out.
 */
export function drawOffsets({ fileBytes, blockBytes, count, seed, avoid }: OffsetRequest): Float64Array<ArrayBuffer> {
  const blocks = Math.max(1, Math.floor(fileBytes / blockBytes))
  const wanted = Math.min(count, blocks)
  const place = shuffled(blocks, seed)
  const fresh: number[] = []
  const known: number[] = []
  for (let i = 0; i < Math.min(blocks, wanted * drawsPerOffset) && fresh.length < wanted; i++) {
    const offset = place(i) * blockBytes
    if (avoid !== undefined && avoid.shareOf(offset, Math.min(blockBytes, fileBytes - offset)) > 0) known.push(offset)
    else fresh.push(offset)
  }
  return Float64Array.from([...fresh, ...known.slice(0, wanted - fresh.length)])
}

/**
 * A permutation of 0 .. n - 1 that takes no memory: a Feistel network over the next power of four, walked until the number is
 * below n (Black and Rogaway 2002). n at most 2^32.
 */
function shuffled(n: number, seed: number): (i: number) => number {
  const halfBits = Math.max(1, Math.ceil(Math.log2(Math.max(2, n)) / 2))
  const mask = 2 ** halfBits - 1
  const once = (value: number): number => {
    let left = Math.floor(value / (mask + 1))
    let right = value % (mask + 1)
    for (let round = 0; round < 4; round++) [left, right] = [right, left ^ (mixed(right, seed + round * 0x9e3779b9) & mask)]
    return left * (mask + 1) + right
  }
  return (i) => {
    let value = once(i)
    while (value >= n) value = once(value)
    return value
  }
}

/** The finaliser of murmur3 (Austin Appleby) over a number and a key. */
function mixed(value: number, key: number): number {
  let word = (value ^ key) | 0
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
  word = (word ^ (word >>> 16)) + Math.imul(key, 0x27d4eb2f)
  word = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d)
  return (word ^ (word >>> 12)) >>> 0
}
