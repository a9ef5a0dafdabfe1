/**
 * Joins neighbouring symbols, best pair first, leftmost first among equals: the core of SPM and of BPE.
 *
 * Cost: n log n for n symbols, also for a text of one megabyte without any cut. Up to `smallMax` symbols, a scan per
 * join is faster than a heap.
 */

/** Symbols of one word as a doubly linked list, in columns, beginning with symbol 0. Reused from word to word. */
export interface SymbolList {
  length: number
  /** Index of the neighbours, -1 at the ends. */
  next: Int32Array
  previous: Int32Array
}

export interface MergeRules {
  /** Rank of the pair that begins at symbol `left`, by index; -1 for none. Integers below 2^24. */
  rank(left: number, right: number): number
  /** Makes symbol `left` stand for both. The list is relinked by the caller of `rank`. */
  join(left: number, right: number): void
}

const smallMax = 40

/** Symbols for which working memory is kept after a text; a word of megabytes gives its memory back. */
export const keptSymbols: number = 1 << 18

export function createSymbolList(): SymbolList {
  return { length: 0, next: new Int32Array(64), previous: new Int32Array(64) }
}

/** Prepares `list` for `length` symbols in a row. */
export function resetSymbols(list: SymbolList, length: number): void {
  if (list.next.length < length) {
    const capacity = Math.max(length, list.next.length * 2)
    list.next = new Int32Array(capacity)
    list.previous = new Int32Array(capacity)
  }
  list.length = length
  for (let i = 0; i < length; i++) {
    list.next[i] = i + 1
    list.previous[i] = i - 1
  }
  if (length > 0) list.next[length - 1] = -1
}

/** Joins until no pair has a rank. Afterwards the list from symbol 0 along `next` holds the result. */
export function mergeAll(list: SymbolList, rules: MergeRules): void {
  if (list.length < 2) return
  if (list.length <= smallMax) mergeByScan(list, rules)
  else mergeByHeap(list, rules)
}

const scanRanks = new Int32Array(smallMax)

function mergeByScan({ length, next, previous }: SymbolList, rules: MergeRules): void {
  for (let i = 0; i + 1 < length; i++) scanRanks[i] = rules.rank(i, i + 1)
  scanRanks[length - 1] = -1
  for (;;) {
    let best = -1
    let bestRank = 0x7fffffff
    for (let i = 0; i >= 0; i = next[i]!) {
      const rank = scanRanks[i]!
      if (rank >= 0 && rank < bestRank) [best, bestRank] = [i, rank]
    }
    if (best < 0) return
    const right = next[best]!
    rules.join(best, right)
    const after = unlink(best, right, next, previous)
    scanRanks[best] = after < 0 ? -1 : rules.rank(best, after)
    const before = previous[best]!
    if (before >= 0) scanRanks[before] = rules.rank(before, best)
  }
}

function mergeByHeap({ length, next, previous }: SymbolList, rules: MergeRules): void {
  const ranks = new Int32Array(length).fill(-1)
  const heap = new PairHeap(length)
  const consider = (left: number, right: number): void => {
    const rank = rules.rank(left, right)
    ranks[left] = rank
    if (rank >= 0) heap.push(rank, left)
  }
  for (let i = 0; i + 1 < length; i++) consider(i, i + 1)
  while (heap.size > 0) {
    const key = heap.pop()
    const left = key % PairHeap.leftLimit
    // An entry is stale when its pair has changed since: the pair that stands there has another rank, or none.
    if (ranks[left] !== Math.floor(key / PairHeap.leftLimit)) continue
    const right = next[left]!
    rules.join(left, right)
    ranks[right] = -1
    const after = unlink(left, right, next, previous)
    if (after < 0) ranks[left] = -1
    else consider(left, after)
    const before = previous[left]!
    if (before >= 0) consider(before, left)
  }
}

/** Takes `right` out of the list and returns what follows. */
function unlink(left: number, right: number, next: Int32Array, previous: Int32Array): number {
  const after = next[right]!
  next[left] = after
  if (after >= 0) previous[after] = left
  return after
}

/** Binary min-heap of (rank, left) packed into one double: rank below 2^24, left below 2^29, exact below 2^53. */
class PairHeap {
  static readonly leftLimit: number = 2 ** 29
  size = 0
  #keys: Float64Array

  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity)
  }

  push(rank: number, left: number): void {
    if (this.size === this.#keys.length) {
      const grown = new Float64Array(this.#keys.length * 2)
      grown.set(this.#keys)
      this.#keys = grown
    }
    const keys = this.#keys
    const key = rank * PairHeap.leftLimit + left
    let hole = this.size++
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      if (keys[parent]! <= key) break
      keys[hole] = keys[parent]!
      hole = parent
    }
    keys[hole] = key
  }

  pop(): number {
    const keys = this.#keys
    const top = keys[0]!
    const last = keys[--this.size]!
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= this.size) break
      if (child + 1 < this.size && keys[child + 1]! < keys[child]!) child++
      if (keys[child]! >= last) break
      keys[hole] = keys[child]!
      hole = child
    }
    keys[hole] = last
    return top
  }
}
