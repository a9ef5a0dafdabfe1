/** The pools that a replay asks: the native one under plans of the planner's own code, or one that no engine can run. */
import { accessStats, type ExpertUse } from '../prefetch/access-stats.js'
import { type DriveCost } from '../prefetch/cost-model.js'
import type { RouteEvent } from '../prefetch/events.js'
import type { OfflinePool } from '../prefetch/eviction/offline.js'
import type { EvictionPolicy } from '../prefetch/eviction/policy.js'
import type { PrefillAdmission, ResidencyPlan } from '../prefetch/plan.js'
import { firstPlan, planResidency } from '../prefetch/planner.js'
import type { RequestOptions } from '../prefetch/reference-cache.js'
import { scoredCache } from '../prefetch/scored-cache.js'
import type { Layout } from './layout.js'

export interface SimulatedPool extends OfflinePool {
  /** The sweep that the next requests belong to. A new plan takes effect here. */
  beginSweep(sweep: number, isPrefill: boolean): void
  /** Idle time: free slots are filled, for nothing. Only after an earlier run is there anything to fill them with. */
  endSweep(): void
  /** What the router chose, for the statistics. */
  observe(layer: number, experts: ArrayLike<number>): void
  /** A block that was read on a guess. */
  admitGuess(block: number): void
  /** Guessed blocks that leave last until the next call. */
  retain(blocks: readonly number[]): void
}

export interface ScoredPoolOptions {
  readonly layout: Layout
  readonly slots: number
  readonly policy: EvictionPolicy
  readonly drive: DriveCost
  /** Sweeps between two plans. */
  readonly planEvery: number
  /** Instead of what plans say of prompts. */
  readonly admission?: PrefillAdmission | undefined
  /** What an earlier run of the model learnt. */
  readonly before?: ExpertUse | undefined
}

/** Without knowledge from before, the first plan is the engine's own: all scores equal, prompts admitted like all else. */
export function scoredPool({ layout, slots, policy, drive, planEvery, admission, before }: ScoredPoolOptions): SimulatedPool {
  const cache = scoredCache(slots, layout.blocks.count)
  const stats = accessStats(layout, before)
  const planOf = (sequenceNumber: number, warm: boolean): ResidencyPlan =>
    planResidency({ manifest: layout, regions: { pinCount: 0, poolSlots: slots }, policy, drive, stats, sequenceNumber, warm })
  let plan = before === undefined ? firstPlan(layout, { pinCount: 0 }) : planOf(1, true)
  let plannedAt = 0
  let options: RequestOptions = { scores: plan.scores, sweep: 0, admission: 'normal' }
  return {
    has: (block) => cache.has(block),
    beginSweep(sweep, isPrefill) {
      if (sweep - plannedAt >= planEvery) {
        plan = planOf(sweep + 2, before !== undefined)
        plannedAt = sweep
      }
      options = { scores: plan.scores, sweep, admission: isPrefill ? (admission ?? plan.prefillAdmission) : 'normal' }
    },
    endSweep: () => cache.warm(plan.warm, options),
    request: (blocks) => cache.request(blocks, options),
    observe(layer, experts) {
      const event: RouteEvent = { kind: 'route', timeNs: 0, sweep: options.sweep, layer, experts: Array.from(experts) }
      stats.observe([event])
    },
    admitGuess: (block) => void cache.request([block], { ...options, admission: 'keepHits' }),
    retain: (blocks) => cache.hold(blocks),
  }
}

/** Takes no guesses: what it would do with them is not defined. */
export function offlinePool(pool: OfflinePool): SimulatedPool {
  return {
    ...pool,
    beginSweep: () => undefined,
    endSweep: () => undefined,
    observe: () => undefined,
    admitGuess: () => undefined,
    retain: () => undefined,
  }
}
