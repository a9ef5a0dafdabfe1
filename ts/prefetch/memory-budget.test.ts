// What could break: regions that sum to more than the budget, a floor that does not run, a budget above the resident size
// that streams all the same. How we notice: random models and budgets against the sum and the native side's own conditions,
// and the two worked examples of the design with their published shapes.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture, type FamilyShape } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { HypuraError } from '../base/errors.js'
import { buildManifest, type BlockManifest } from '../manifest/block-manifest.js'
import { expectationOf, memorySteps } from './expectation.js'
import { batchSizes, planMemory, type BudgetRequest, type MemoryPlan } from './memory-budget.js'
import type { MemoryItems } from './memory-items.js'
import { expertsPerToken, type Measure } from './sizing.js'

const gib = 2 ** 30
const build = (shape: FamilyShape): Promise<BlockManifest> => buildManifest(fakeModel(fakeFamily(shape)))

/** As the native side measures, near enough: F16 keys and values, and some rows of floats per position. */
const measureOf = ({ spec }: BlockManifest): Measure => (batchPositions, contextLength) => ({
  kvBytes: spec.nLayer * contextLength * spec.nHeadKv * (spec.headDimK + spec.headDimV) * 2,
  scratchBytes: 20_001 + spec.nVocab * 4 + batchPositions * 4 * (8 * spec.nEmbd + 3 * Math.max(spec.nFf, spec.nFfExpert) + spec.nExpertUsed * spec.nEmbd),
})
const requestOf = (manifest: BlockManifest, budgetBytes: number, more: Partial<BudgetRequest> = {}): BudgetRequest =>
  ({ manifest, budgetBytes, contextLength: 512, measure: measureOf(manifest), ...more })

const shapes: Record<string, FamilyShape> = {
  tiny: tinyDense,
  tinyMixture,
  small: { ...tinyDense, nLayer: 12, nEmbd: 1024, nHead: 16, nHeadKv: 4, nFf: 2816, nVocab: 20_000, type: 'Q8_0' },
  smallMixture: { ...tinyMixture, nLayer: 6, nEmbd: 1024, nHead: 16, nHeadKv: 4, headDim: 64, nFfExpert: 512, nExpert: 32, nExpertUsed: 4, nVocab: 8000, type: 'Q4_K', nFf: 4096 },
}
const manifests = Object.fromEntries(await Promise.all(Object.entries(shapes).map(async ([name, shape]) => [name, await build(shape)] as const)))
const anyManifest = fc.constantFrom(...Object.values(manifests))

/** What native/runtime/load_budget.cpp will ask for. */
function expectLoadable({ regions, chosen }: MemoryPlan, manifest: BlockManifest): void {
  const { blocks, pinOrder, bands } = manifest
  const pinned = new Set(pinOrder.subarray(0, regions.pinCount))
  let pinnedBytes = 0
  let largestStreamed = 0
  for (let band = 0; band < bands.count; band++) {
    if (pinned.has(band)) pinnedBytes += blocks.hullBytes[band]!
    else largestStreamed = Math.max(largestStreamed, blocks.hullBytes[band]!)
  }
  expect(regions.pinnedBytes).toBe(pinnedBytes)
  expect(regions.ringBytes).toBeGreaterThanOrEqual(largestStreamed)
  expect([regions.ringBytes % 4096, regions.poolSlotBytes % 4096, regions.rowSlotBytes % 4096, regions.nCtx % 256]).toEqual([0, 0, 0, 0])
  expect(regions.poolSlots).toBeGreaterThanOrEqual(manifest.experts.count > 0 ? 2 : 0)
  expect(regions.rowSlots).toBeGreaterThanOrEqual(1)
  const sum = regions.trunkBytes + regions.pinnedBytes + regions.ringBytes + regions.poolSlots * regions.poolSlotBytes +
    regions.rowSlots * regions.rowSlotBytes + Math.ceil(regions.kvBytes / 4096) * 4096 + Math.ceil(regions.scratchBytes / 4096) * 4096
  expect(sum).toBe(chosen.total)
  expect(sum).toBeLessThanOrEqual(regions.budgetBytes)
}

function totalOf({ trunk, pinned, ring, experts, rows, kv, scratch }: MemoryItems): number {
  return trunk + pinned + ring + experts + rows + kv + scratch
}

const anyMode = fc.constantFrom('auto' as const, 'stream' as const)

test('the sum of the regions never exceeds the budget, and native would take it', () => {
  fc.assert(fc.property(
    anyManifest, fc.double({ min: 0, max: 1.3, noNaN: true }), fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 64 }), anyMode,
    (manifest, share, contextLength, batchPositionsMax, ioDepth, mode) => {
      const wishes = { contextLength, batchPositionsMax, ioDepth, mode }
      const { floor, resident } = planMemory(requestOf(manifest, 2 ** 45, wishes))
      const budget = Math.floor(floor.total + (resident.total - floor.total) * share)
      const plan = planMemory(requestOf(manifest, Math.max(floor.total, budget), wishes))
      expectLoadable(plan, manifest)
      for (const items of [plan.floor, plan.resident, plan.recommended, plan.chosen]) expect(totalOf(items)).toBe(items.total)
      expect(plan.floor).toEqual(floor)
      expect(plan.regions.batchPositions).toBeLessThanOrEqual(batchPositionsMax)
      expect(batchSizes).toContain(plan.regions.batchPositions)
    },
  ), { numRuns: 400 })
})

test('the floor runs; one page less does not, and the error says what would', () => {
  for (const manifest of Object.values(manifests)) {
    const { floor } = planMemory(requestOf(manifest, 2 ** 45, { contextLength: 2048 }))
    expectLoadable(planMemory(requestOf(manifest, floor.total, { contextLength: 2048 })), manifest)
    let error: unknown
    try { planMemory(requestOf(manifest, floor.total - 1, { contextLength: 2048 })) } catch (thrown) { error = thrown }
    expect(error).toBeInstanceOf(HypuraError)
    const { code, details, message } = error as HypuraError
    expect(code).toBe('ERR_HYPURA_INSUFFICIENT_MEMORY')
    expect(details).toMatchObject({ floorBytes: floor.total, budgetBytes: floor.total - 1 })
    // Both ways out that the message names do run.
    const memory = Number(/--memory (\d+)MiB/.exec(message)![1]) * 2 ** 20
    expectLoadable(planMemory(requestOf(manifest, memory, { contextLength: 2048 })), manifest)
    const context = Number(/--ctx-size (\d+)/.exec(message)![1])
    expectLoadable(planMemory(requestOf(manifest, floor.total - 1, { contextLength: context })), manifest)
    expect(() => planMemory(requestOf(manifest, floor.total - 1, { contextLength: context + 256 }))).toThrow(HypuraError)
  }
})

test('from the resident size on nothing streams', () => {
  fc.assert(fc.property(anyManifest, fc.nat(2 ** 24), (manifest, more) => {
    const { resident } = planMemory(requestOf(manifest, 2 ** 45))
    const plan = planMemory(requestOf(manifest, resident.total + more))
    expect(plan.mode).toBe('resident')
    expect(plan.regions).toMatchObject({ ringBytes: 0, pinCount: manifest.bands.count })
    expect(planMemory(requestOf(manifest, resident.total + more, { mode: 'resident' })).mode).toBe('resident')
  }))
  const { resident } = planMemory(requestOf(manifests.small!, 2 ** 45))
  expect(planMemory(requestOf(manifests.small!, resident.total - 1)).mode).toBe('stream')
  expect(() => planMemory(requestOf(manifests.small!, resident.total - 1, { mode: 'resident' }))).toThrow(/stay in memory/)
})

test('stream keeps something on the drive whatever the budget', () => {
  for (const name of ['small', 'smallMixture'] as const) {
    const plan = planMemory(requestOf(manifests[name]!, 2 ** 45, { mode: 'stream' }))
    expect(plan.mode).toBe('stream')
  }
})

test('more memory never pins fewer bands, beyond the steps of slots', () => {
  fc.assert(fc.property(anyManifest, fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (manifest, a, b) => {
    const { floor, resident } = planMemory(requestOf(manifest, 2 ** 45))
    const at = (share: number): MemoryPlan =>
      planMemory(requestOf(manifest, Math.floor(floor.total + (resident.total - floor.total) * share), { batchPositionsMax: 1 }))
    const [less, more] = [at(Math.min(a, b)), at(Math.max(a, b))]
    const step = 2 * (manifest.expertSlotBytes + manifest.rowSlotBytes) + manifest.largestBandBytes
    expect(more.regions.pinnedBytes).toBeGreaterThanOrEqual(less.regions.pinnedBytes - (more.regions.budgetBytes - less.regions.budgetBytes < step ? step : 0))
  }))
})

test('batches are as large as scratch allows, and no larger than asked', () => {
  const manifest = manifests.small!
  const roomy = planMemory(requestOf(manifest, 2 ** 45))
  expect(roomy.regions.batchPositions).toBe(512)
  expect(planMemory(requestOf(manifest, 2 ** 45, { batchPositionsMax: 100 })).regions.batchPositions).toBe(64)
  expect(planMemory(requestOf(manifest, roomy.floor.total)).regions.batchPositions).toBeLessThan(512)
})

describe('worked examples at 3.5 GB/s', () => {
  const drive = { bytesPerSecond: 3.5e9, latencySeconds: 0 }

  test('70B dense, 16 GiB, 4k context', async () => {
    const manifest = await build({
      architecture: 'llama', nLayer: 80, nEmbd: 8192, nHead: 64, nHeadKv: 8, nFf: 28_672, nVocab: 128_256,
      type: 'Q4_K', downType: 'Q5_K', headType: 'Q6_K', contextLength: 8192,
    })
    const request = requestOf(manifest, 16 * gib, { contextLength: 4096 })
    const plan = planMemory(request)
    expectLoadable(plan, manifest)
    expect(plan.chosen.kv).toBe(1.25 * gib)
    expect(manifest.cycleBytes / 1e9).toBeCloseTo(41.9, -1)
    expect(plan.chosen.pinned / gib).toBeGreaterThan(13.7)
    expect(plan.chosen.pinned / gib).toBeLessThan(14.7)
    const { bytesPerToken, tokensPerSecond, coldBytesPerToken } = expectationOf(manifest, plan, drive)
    expect(bytesPerToken.low).toBe(manifest.cycleBytes - plan.chosen.pinned)
    expect(bytesPerToken.low).toBe(bytesPerToken.high)
    expect(coldBytesPerToken).toBe(manifest.cycleBytes)
    expect(1 / tokensPerSecond.low).toBeGreaterThan(6.5)
    expect(1 / tokensPerSecond.low).toBeLessThan(8.5)
    const steps = memorySteps(request, plan, drive)
    expect(steps.map(({ budgetBytes }) => budgetBytes)).toEqual([...steps.map(({ budgetBytes }) => budgetBytes)].sort((a, b) => a - b))
    expect(steps.at(-1)).toMatchObject({ mode: 'resident', bytesPerToken: { low: 0, high: 0 } })
    expect(steps[0]!.bytesPerToken.high).toBeGreaterThan(steps.at(-2)!.bytesPerToken.high)
  })

  test('30B-A3B mixture, 8 GiB, 8k context', async () => {
    const manifest = await build({
      architecture: 'qwen3moe', nLayer: 48, nEmbd: 2048, nHead: 32, nHeadKv: 4, headDim: 128, nFf: 6144, nVocab: 151_936,
      nExpert: 128, nExpertUsed: 8, nFfExpert: 768, type: 'Q4_K', downType: 'Q6_K', headType: 'Q6_K', contextLength: 32_768,
    })
    const plan = planMemory(requestOf(manifest, 8 * gib, { contextLength: 8192 }))
    expectLoadable(plan, manifest)
    expect(plan.chosen.kv).toBe(0.75 * gib)
    expect(manifest.expertSlotBytes).toBe(3_072_000)
    expect(plan.regions.pinCount).toBe(manifest.bands.count)
    expect(plan.regions.poolSlots).toBeGreaterThan(2000)
    expect(plan.regions.poolSlots).toBeLessThan(2300)
    expect(expertsPerToken(manifest.spec)).toBe(384)
    expect(plan.cliff!.experts).toBe(384 * 3_072_000)
    const { bytesPerToken, hitRates } = expectationOf(manifest, plan, drive)
    expect(hitRates!.low).toBeCloseTo(0.34, 1)
    expect(bytesPerToken.high).toBeLessThan(1.2e9)
    expect(expectationOf(manifest, plan, drive, 1).bytesPerToken).toEqual({ low: 0, high: 0 })
  })
})
