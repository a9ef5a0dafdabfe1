/**
 * The policy of reference-cache.ts with a heap instead of searches, for replays of pools with thousands of slots. The specification
 * says what is right; scored-cache.test.ts holds the two together.
 *
 * Holds always: the heap has exactly the residents that no request in work wants.
 */
import { invariant } from '../base/errors.js'
import type { RequestOptions } from './reference-cache.js'

export interface ScoredCache {
  readonly clock: number
  readonly size: number
  has(block: number): boolean
  priorityOf(block: number): number | undefined
  /** Held blocks leave last. */
  hold(blocks: Iterable<number>): void
  /** One layer's experts, each once. Returns those that were missing, in the order in which they are read. */
  request(blocks: readonly number[], options: RequestOptions): number[]
  /** Idle time: fills free slots, and only those, in the order of the list. */
  warm(blocks: Iterable<number>, options: RequestOptions): void
}

const nowhere = -1

/** @param nBlocks ids are below this */
export function scoredCache(slots: number, nBlocks: number): ScoredCache {
  invariant(slots >= 2, `an expert pool of ${slots} slots`)
  const priority = new Float64Array(nBlocks)
  /** 0: not resident. */
  const usedAt = new Float64Array(nBlocks)
  const isHeld = new Uint8Array(nBlocks)
  const heapAt = new Int32Array(nBlocks).fill(nowhere)
  const heap: number[] = []
  let held: number[] = []
  let size = 0
  let clock = 0
  let uses = 0

  const goesBefore = (a: number, b: number): boolean => {
    if (isHeld[a] !== isHeld[b]) return isHeld[b] === 1
    return priority[a] !== priority[b] ? priority[a]! < priority[b]! : usedAt[a]! < usedAt[b]!
  }
  const place = (at: number, block: number): void => {
    heap[at] = block
    heapAt[block] = at
  }
  const settle = (block: number): void => {
    let at = heapAt[block]!
    for (let up = (at - 1) >> 1; at > 0 && goesBefore(block, heap[up]!); up = (at - 1) >> 1) {
      place(at, heap[up]!)
      at = up
    }
    for (let down = 2 * at + 1; down < heap.length; down = 2 * at + 1) {
      if (down + 1 < heap.length && goesBefore(heap[down + 1]!, heap[down]!)) down++
      if (!goesBefore(heap[down]!, block)) break
      place(at, heap[down]!)
      at = down
    }
    place(at, block)
  }
  const add = (block: number): void => {
    place(heap.length, block)
    settle(block)
  }
  const remove = (block: number): void => {
    const at = heapAt[block]!
    const last = heap.pop()!
    heapAt[block] = nowhere
    if (last === block) return
    place(at, last)
    settle(last)
  }
  const use = (block: number, score: number): void => {
    priority[block] = clock + score
    usedAt[block] = ++uses
  }

  return {
    get clock() { return clock },
    get size() { return size },
    has: (block) => usedAt[block]! > 0,
    priorityOf: (block) => (usedAt[block]! > 0 ? priority[block] : undefined),
    hold(blocks) {
      const change = (block: number, to: 0 | 1): void => {
        isHeld[block] = to
        if (heapAt[block] !== nowhere) settle(block)
      }
      for (const block of held) change(block, 0)
      held = [...blocks]
      for (const block of held) change(block, 1)
    },
    request(blocks, { scores, admission = 'normal' }) {
      const missing: number[] = []
      /** In the order in which they make room when the request is larger than the pool. */
      const wanted: number[] = []
      for (const block of blocks) {
        if (usedAt[block] === 0) {
          missing.push(block)
          continue
        }
        if (admission !== 'bypass') use(block, scores[block]!)
        remove(block)
        wanted.push(block)
      }
      let served = 0
      for (const block of missing) {
        if (size >= slots) {
          if (heap.length === 0) add(wanted[served++]!)
          const gone = heap[0]!
          remove(gone)
          clock = Math.max(clock, priority[gone]!)
          usedAt[gone] = 0
          size--
        }
        use(block, admission === 'normal' ? scores[block]! : 0)
        size++
        wanted.push(block)
      }
      for (const block of wanted.slice(served)) add(block)
      return missing
    },
    warm(blocks, { scores }) {
      for (const block of blocks) {
        if (size >= slots) return
        if (usedAt[block]! > 0) continue
        use(block, scores[block]!)
        size++
        add(block)
      }
    },
  }
}
