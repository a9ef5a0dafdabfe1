/**
 * A loaded model under another budget: what leaves, and what comes back.
 *
 * Trunk, KV cache, scratch and row pool stay as they were loaded, because sweeps use them. Of the rest
 *  1. expert slots leave first, down to two: bands are certain to be used again;
 *  2. then bands, from the end of the pin order. They stream through the loaded ring or, where all were in memory, through one
 *     that is cut from the end of the stack that they left.
 * A budget gives one division whatever was in force before, so growing back ends where loading began. The native side checks
 * it again (native/scheduler/block_cache_resize.cpp). Pure.
 */
import { HypuraError } from '../base/errors.js'
import type { BlockManifest } from '../manifest/block-manifest.js'
import type { MemoryPlan } from './memory-budget.js'
import { addUp, wholePages } from './memory-items.js'
import { formatSize } from './parse-size.js'
import { extraSlots, poolSlotsLeast, prefixBytes, prefixCount, ringSizes } from './sizing.js'

export interface LoadedModel {
  readonly manifest: BlockManifest
  /** As it was loaded, with a cache. */
  readonly plan: MemoryPlan
  /** Reads in flight. */
  readonly ioDepth: number
}

/** Of the cache's regions: what goes down with a resize. */
export interface CacheDivision {
  readonly budgetBytes: number
  readonly pinCount: number
  readonly poolSlots: number
  readonly ringBytes: number
}

/** The least budget that a loaded model can go down to. */
export function leastBudgetBytes({ manifest, plan, ioDepth }: LoadedModel): number {
  const { chosen, regions } = plan
  const ring = ringSizes(manifest, ioDepth)
  const bands = regions.ringBytes > 0 ? regions.ringBytes : ring.streams ? ring.least : chosen.pinned
  return fixedBytes(plan) + bands + Math.min(regions.poolSlots, poolSlotsLeast) * regions.poolSlotBytes
}

/**
 * The loaded plan with what another budget holds of it.
 *
 * Errors: ERR_HYPURA_INSUFFICIENT_MEMORY below the least, ERR_HYPURA_INVALID_ARGUMENT above what was loaded.
 */
export function redivide(loaded: LoadedModel, budget: number): MemoryPlan {
  const { manifest, plan, ioDepth } = loaded
  const { regions, chosen } = plan
  const budgetBytes = wholePages(budget)
  const least = leastBudgetBytes(loaded)
  if (budgetBytes < least) {
    throw new HypuraError('ERR_HYPURA_INSUFFICIENT_MEMORY', `a budget of ${formatSize(budget)} is too small: as it was loaded, this model needs ${formatSize(least)}`, { budgetBytes: budget, floorBytes: least })
  }
  if (budgetBytes > regions.budgetBytes) {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `a budget of ${formatSize(budget)} is larger than the ${formatSize(regions.budgetBytes)} that the model was loaded with: load it again`, { found: budget, allowed: regions.budgetBytes })
  }
  const left = budgetBytes - fixedBytes(plan)
  // What does not depend on the leftover of the budget that it was loaded with.
  const { pinCount, poolSlots, ringBytes } = budgetBytes >= chosen.total ? regions : divide(manifest, plan, ioDepth, left)
  const pinnedBytes = prefixBytes(manifest)[pinCount]!
  return {
    ...plan,
    mode: plan.mode === 'resident' && pinCount === regions.pinCount && poolSlots === regions.poolSlots ? 'resident' : 'stream',
    regions: { ...regions, budgetBytes, pinCount, poolSlots, ringBytes, pinnedBytes },
    chosen: addUp({ ...chosen, pinned: pinnedBytes, ring: ringBytes, experts: poolSlots * regions.poolSlotBytes }),
  }
}

export const divisionOf = ({ budgetBytes, pinCount, poolSlots, ringBytes }: MemoryPlan['regions']): CacheDivision =>
  ({ budgetBytes, pinCount, poolSlots, ringBytes })

const fixedBytes = ({ chosen: { trunk, kv, scratch, rows } }: MemoryPlan): number => trunk + kv + scratch + rows

/** left: bytes for bands, ring and experts. */
function divide(manifest: BlockManifest, { regions }: MemoryPlan, ioDepth: number, left: number): Omit<CacheDivision, 'budgetBytes'> {
  const { poolSlotBytes } = regions
  const slotsLeast = Math.min(regions.poolSlots, poolSlotsLeast)
  const afterBands = left - manifest.cycleBytes - slotsLeast * poolSlotBytes
  if (regions.ringBytes === 0 && afterBands >= 0) {
    const extra = poolSlotBytes === 0 ? 0 : Math.floor(afterBands / poolSlotBytes)
    return { pinCount: regions.pinCount, poolSlots: Math.min(regions.poolSlots, slotsLeast + extra), ringBytes: 0 }
  }
  const afterSlots = left - slotsLeast * poolSlotBytes
  const ring = ringSizes(manifest, ioDepth)
  const ringBytes = regions.ringBytes > 0 ? regions.ringBytes : Math.max(ring.least, Math.min(ring.wanted, wholePages(afterSlots)))
  const rest = Math.min(afterSlots, manifest.cycleBytes) - ringBytes
  const extra = Math.min(regions.poolSlots - slotsLeast, extraSlots(manifest.spec, poolSlotBytes, rest))
  return {
    pinCount: Math.min(regions.pinCount, prefixCount(prefixBytes(manifest), rest - extra * poolSlotBytes)),
    poolSlots: slotsLeast + extra,
    ringBytes,
  }
}
