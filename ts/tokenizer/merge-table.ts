/**
 * Merges of BPE by pair of tokens: open addressing over integers, built in one pass (514,000 merges in about 50 ms).
 * The first merge of a pair stays. Immutable once filled.
 */
export class MergeTable {
  /** Left, right and joined token of each rank, side by side: one access to memory finds all three. */
  readonly #merges: Int32Array
  readonly #slots: Int32Array
  readonly #mask: number

  /** @param count number of ranks, 0 .. 2^24 */
  constructor(count: number) {
    this.#merges = new Int32Array(count * 3)
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, count * 2)))
    this.#slots = new Int32Array(capacity).fill(-1)
    this.#mask = capacity - 1
  }

  add(rank: number, left: number, right: number, joined: number): void {
    const slot = this.#slot(left, right)
    if (this.#slots[slot]! >= 0) return
    this.#slots[slot] = rank
    this.#merges[rank * 3] = left
    this.#merges[rank * 3 + 1] = right
    this.#merges[rank * 3 + 2] = joined
  }

  /** Rank of a pair of tokens, or -1. Negative "tokens" have no merges. */
  rank(left: number, right: number): number {
    return left < 0 || right < 0 ? -1 : this.#slots[this.#slot(left, right)]!
  }

  /** The token that the merge of this rank makes. */
  joined(rank: number): number {
    return this.#merges[rank * 3 + 2]!
  }

  #slot(left: number, right: number): number {
    let h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    for (let slot = (h ^ (h >>> 13)) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const rank = this.#slots[slot]!
      if (rank < 0 || (this.#merges[rank * 3] === left && this.#merges[rank * 3 + 1] === right)) return slot
    }
  }
}
