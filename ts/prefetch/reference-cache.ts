/**
 * The expert pool's policy as an executable specification: what stays and who leaves, without drive, threads or slots.
 *
 * Greedy-dual with scores from outside: on use, priority = clock + score; the victim is the block of least priority that the
 * request itself does not want and that is not held, the least recently used among equals; held ones go only when nothing
 * else is left; the clock rises to the victim's priority. Clock and priorities are doubles here and in
 * native/scheduler/slot_pool.h and pool_request.h, so both agree to the bit on traces whose reads arrive in time. Faults and
 * late arrivals are no part of the policy. Written to be read: each step searches a list.
 * @see Cao and Irani 1997; Cherkasova 1998
 */
import { invariant } from '../base/errors.js'
import type { PrefillAdmission } from './plan.js'

export interface Eviction {
  readonly block: number
  readonly replacedBy: number
  readonly priority: number
  readonly ageSweeps: number
}

export interface Outcome {
  readonly hits: number
  readonly misses: number
  /** In the order in which they happened. */
  readonly evictions: readonly Eviction[]
}

export interface RequestOptions {
  /** By block id. */
  readonly scores: Float32Array
  readonly sweep: number
  /** 'normal' outside of prefill. */
  readonly admission?: PrefillAdmission
}

export interface ReferenceCache {
  readonly clock: number
  readonly residents: ReadonlySet<number>
  has(block: number): boolean
  priorityOf(block: number): number | undefined
  /** Held blocks of the plan in force, as each new plan names them. */
  hold(blocks: Iterable<number>): void
  /** One layer's experts, each once, in the order in which they are asked for. */
  request(blocks: readonly number[], options: RequestOptions): Outcome
  /** Idle time: fills free slots, and only those, in the order of the list. */
  warm(blocks: readonly number[], options: RequestOptions): void
}

interface Resident {
  priority: number
  usedAt: number
  lastSweep: number
}

export function referenceCache(slots: number): ReferenceCache {
  invariant(slots >= 2, `an expert pool of ${slots} slots`)
  const residents = new Map<number, Resident>()
  let held: ReadonlySet<number> = new Set()
  let clock = 0
  let uses = 0

  const use = (block: number, score: number, sweep: number): void => {
    residents.set(block, { priority: clock + score, usedAt: ++uses, lastSweep: sweep })
  }

  const goesBefore = (a: number, b: number): boolean => {
    if (held.has(a) !== held.has(b)) return held.has(b)
    const [left, right] = [residents.get(a)!, residents.get(b)!]
    return left.priority !== right.priority ? left.priority < right.priority : left.usedAt < right.usedAt
  }
  const victim = (wanted: ReadonlySet<number>): number | undefined => {
    let least: number | undefined
    for (const block of residents.keys()) {
      if (!wanted.has(block) && (least === undefined || goesBefore(block, least))) least = block
    }
    return least
  }

  const request: ReferenceCache['request'] = (blocks, { scores, sweep, admission = 'normal' }) => {
    // Hits are wanted before the first miss takes a slot: a request never evicts what it is about to use.
    const hits = blocks.filter((block) => residents.has(block))
    const missing = blocks.filter((block) => !residents.has(block))
    if (admission !== 'bypass') for (const block of hits) use(block, scores[block]!, sweep)
    const wanted = new Set(hits)
    const evictions: Eviction[] = []
    for (const block of missing) {
      if (residents.size >= slots) {
        let gone = victim(wanted)
        // More blocks than slots: those that came first are computed, and make room.
        for (const served of wanted) {
          if (gone !== undefined) break
          wanted.delete(served)
          gone = victim(wanted)
        }
        const { priority, lastSweep } = residents.get(gone!)!
        evictions.push({ block: gone!, replacedBy: block, priority, ageSweeps: sweep - lastSweep })
        clock = Math.max(clock, priority)
        residents.delete(gone!)
      }
      use(block, admission === 'normal' ? scores[block]! : 0, sweep)
      wanted.add(block)
    }
    return { hits: hits.length, misses: missing.length, evictions }
  }

  return {
    get clock() { return clock },
    get residents() { return new Set(residents.keys()) },
    has: (block) => residents.has(block),
    priorityOf: (block) => residents.get(block)?.priority,
    hold: (blocks) => void (held = new Set(blocks)),
    request,
    warm(blocks, { scores, sweep }) {
      for (const block of blocks) {
        if (residents.size >= slots) return
        if (!residents.has(block)) use(block, scores[block]!, sweep)
      }
    },
  }
}
