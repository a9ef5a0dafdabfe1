/**
 * What a memory plan promises before a weight is read: bytes per token, the speed the drive allows, and what more memory
 * would buy. Bounds of the drive only; compute may be slower.
 */
import type { BlockManifest } from '../manifest/block-manifest.js'
import { driveBound, expectedHitRates, type DriveCost, type HitRates, type Range } from './cost-model.js'
import { planMemory, type BudgetRequest, type MemoryPlan } from './memory-budget.js'
import { expertsPerToken } from './sizing.js'

export interface Expectation {
  /** Of one decoded token with nothing in memory. Rows of the embedding (one band of some 100 KB) are left out. */
  readonly coldBytesPerToken: number
  /** Once pool and ring are warm. Equal for dense models; a range of habits for mixtures. */
  readonly bytesPerToken: Range
  readonly hitRates: HitRates | undefined
  /** What the drive allows; Infinity when nothing is read. */
  readonly tokensPerSecond: Range
}

/** @param hitRate of the expert pool, when it was measured; else it is estimated */
export function expectationOf(
  manifest: BlockManifest, plan: MemoryPlan, drive: DriveCost, hitRate?: number,
): Expectation {
  const { experts, expertBytes, cycleBytes, spec } = manifest
  const chosen = expertsPerToken(spec)
  const expertBytesPerToken = experts.count === 0 ? 0 : (expertBytes / experts.count) * chosen
  if (plan.mode === 'mmap' || plan.mode === 'bare') return withoutCache(plan.mode, cycleBytes + expertBytesPerToken, drive)
  const streamed = cycleBytes - plan.regions.pinnedBytes
  const hitRates = experts.count === 0 ? undefined
    : hitRate === undefined ? expectedHitRates(plan.regions.poolSlots, experts.count, chosen) : { low: hitRate, high: hitRate }
  const bytesPerToken = {
    low: streamed + expertBytesPerToken * (1 - (hitRates?.high ?? 0)),
    high: streamed + expertBytesPerToken * (1 - (hitRates?.low ?? 0)),
  }
  return {
    coldBytesPerToken: cycleBytes + expertBytesPerToken,
    bytesPerToken,
    hitRates,
    tokensPerSecond: driveBound(drive, bytesPerToken),
  }
}

/** Mapped weights: all or nothing of them is in the page cache, and only the kernel knows. */
function withoutCache(mode: 'mmap' | 'bare', coldBytesPerToken: number, drive: DriveCost): Expectation {
  const bytesPerToken = { low: 0, high: mode === 'bare' ? 0 : coldBytesPerToken }
  return { coldBytesPerToken, bytesPerToken, hitRates: undefined, tokensPerSecond: driveBound(drive, bytesPerToken) }
}

export interface MemoryStep extends Expectation {
  readonly budgetBytes: number
  readonly mode: MemoryPlan['mode']
}

/** What other budgets would buy: `steps` of them, evenly from the floor to the size that keeps everything; none without a cache. */
export function memorySteps(request: BudgetRequest, plan: MemoryPlan, drive: DriveCost, steps = 6): MemoryStep[] {
  if (plan.regions.placement !== 'cache') return []
  const least = plan.floor.total
  const most = Math.max(least, plan.resident.total)
  return Array.from({ length: steps }, (_, i) => {
    const budgetBytes = Math.ceil(least + ((most - least) * i) / Math.max(1, steps - 1))
    const other = planMemory({ ...request, mode: 'auto', budgetBytes })
    return { budgetBytes, mode: other.mode, ...expectationOf(request.manifest, other, drive) }
  })
}
