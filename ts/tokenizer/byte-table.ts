/**
 * Map from byte strings to ids, for vocabularies of some 100,000 short strings.
 *
 * Why not a `Map`: its keys would be JavaScript strings, one allocation per token at load and one per look-up while
 * encoding. Here keys are ranges of one arena, found by open addressing.
 * The first id added for a key stays (vocabularies with duplicate strings exist).
 */
export class ByteTable {
  readonly #arena: Uint8Array
  /** Start and length of the key of each id, side by side: one access to memory finds both. */
  readonly #ranges: Int32Array
  readonly #slots: Int32Array
  readonly #mask: number
  #longest = 0

  /** @param ranges two numbers per id: start in the arena, and length; -1 for ids without a key. At most 2^28 ids. */
  constructor(arena: Uint8Array, ranges: Int32Array) {
    this.#arena = arena
    this.#ranges = ranges
    const count = ranges.length / 2
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, count * 2)))
    this.#slots = new Int32Array(capacity).fill(-1)
    this.#mask = capacity - 1
    for (let id = 0; id < count; id++) this.#add(id)
  }

  /** Bytes of the longest key. */
  get longest(): number {
    return this.#longest
  }

  /** The id of bytes[from, to), or -1. */
  find(bytes: Uint8Array, from: number, to: number): number {
    if (to - from > this.#longest) return -1
    for (let slot = hash(bytes, from, to) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const id = this.#slots[slot]!
      if (id < 0 || this.#equals(id, bytes, from, to)) return id
    }
  }

  #add(id: number): void {
    const from = this.#ranges[2 * id]!
    const length = this.#ranges[2 * id + 1]!
    if (length <= 0) return
    const to = from + length
    this.#longest = Math.max(this.#longest, length)
    let slot = hash(this.#arena, from, to) & this.#mask
    for (; this.#slots[slot]! >= 0; slot = (slot + 1) & this.#mask) {
      if (this.#equals(this.#slots[slot]!, this.#arena, from, to)) return
    }
    this.#slots[slot] = id
  }

  #equals(id: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (this.#ranges[2 * id + 1] !== to - from) return false
    const arena = this.#arena
    for (let i = from, j = this.#ranges[2 * id]!; i < to; i++, j++) if (bytes[i] !== arena[j]) return false
    return true
  }
}

/** FNV-1a with a final mix, so that the low bits depend on all bytes. */
function hash(bytes: Uint8Array, from: number, to: number): number {
  let h = 0x811c9dc5
  for (let i = from; i < to; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  return (h ^ (h >>> 13)) >>> 0
}
