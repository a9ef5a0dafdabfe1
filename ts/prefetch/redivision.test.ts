// What could break: a division that the native side refuses, that exceeds its budget, that drops bands while expert slots stay,
// or that depends on the way by which it was reached.
// How we notice: random models, loads and budgets against the native side's own conditions, counted here once more.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture, type FamilyShape } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { HypuraError } from '../base/errors.js'
import { buildManifest, type BlockManifest } from '../manifest/block-manifest.js'
import { planMemory } from './memory-budget.js'
import { leastBudgetBytes, type LoadedModel, redivide } from './redivision.js'

const shapes: readonly FamilyShape[] = [
  tinyDense,
  tinyMixture,
  { ...tinyDense, nLayer: 12, nEmbd: 1024, nHead: 16, nHeadKv: 4, nFf: 2816, nVocab: 20_000, type: 'Q8_0' },
  { ...tinyMixture, nLayer: 6, nEmbd: 1024, nHead: 16, nHeadKv: 4, headDim: 64, nFfExpert: 512, nExpert: 32, nExpertUsed: 4, nVocab: 8000, type: 'Q4_K', nFf: 4096 },
]
const manifests = await Promise.all(shapes.map((shape) => buildManifest(fakeModel(fakeFamily(shape)))))
const ioDepth = 8

/** share: of the way from the floor to everything in memory, and past it. */
function loadedWith(manifest: BlockManifest, share: number, mode: 'auto' | 'stream'): LoadedModel {
  const measure = (batch: number, context: number): { kvBytes: number; scratchBytes: number } => ({ kvBytes: context * 512, scratchBytes: 50_001 + batch * 9000 })
  const plan = (budgetBytes: number): LoadedModel['plan'] => planMemory({ manifest, budgetBytes, contextLength: 512, measure, mode, ioDepth })
  const { floor, resident } = plan(2 ** 40)
  return { manifest, ioDepth, plan: plan(Math.ceil(floor.total + share * (resident.total + 100_000 - floor.total))) }
}

const anyLoad = fc.record({
  manifest: fc.constantFrom(...manifests),
  share: fc.oneof(fc.double({ min: 0, max: 1.2, noNaN: true }), fc.constant(1)),
  mode: fc.constantFrom('auto' as const, 'stream' as const),
}).map(({ manifest, share, mode }) => loadedWith(manifest, share, mode))
const anyShare = fc.double({ min: 0, max: 1, noNaN: true })
const between = (loaded: LoadedModel, share: number): number => Math.floor(leastBudgetBytes(loaded) + share * (loaded.plan.regions.budgetBytes - leastBudgetBytes(loaded)))

describe('another budget for a loaded model', () => {
  test('is kept, and is what the native side accepts', () => {
    fc.assert(fc.property(anyLoad, anyShare, (loaded, share) => {
      const { manifest, plan } = loaded
      const budget = between(loaded, share)
      const { regions, chosen } = redivide(loaded, budget)
      const hulls = [...manifest.pinOrder].map((band) => manifest.blocks.hullBytes[band]!)
      const pinned = hulls.slice(0, regions.pinCount).reduce((sum, bytes) => sum + bytes, 0)
      expect(chosen.trunk + chosen.kv + chosen.scratch + chosen.rows + pinned + regions.ringBytes + regions.poolSlots * regions.poolSlotBytes).toBe(chosen.total)
      expect(chosen.total).toBeLessThanOrEqual(budget)
      expect(regions.pinCount).toBeLessThanOrEqual(plan.regions.pinCount)
      expect(regions.poolSlots).toBeLessThanOrEqual(plan.regions.poolSlots)
      expect(regions.poolSlots).toBeGreaterThanOrEqual(Math.min(2, plan.regions.poolSlots))
      if (plan.regions.ringBytes > 0) {
        expect(regions.ringBytes).toBe(plan.regions.ringBytes)
      } else if (regions.pinCount === hulls.length) {
        expect(regions.ringBytes).toBe(0)
      } else {
        expect(regions.ringBytes % 4096).toBe(0)
        expect(regions.ringBytes).toBeGreaterThanOrEqual(Math.max(...hulls))
        expect(pinned + regions.ringBytes).toBeLessThanOrEqual(plan.regions.pinnedBytes)
      }
      for (const fixed of ['trunkBytes', 'kvBytes', 'scratchBytes', 'rowSlots', 'batchPositions', 'nCtx'] as const) expect(regions[fixed]).toBe(plan.regions[fixed])
    }))
  })

  test('wastes less than what it could not place: one expert slot and one band', () => {
    fc.assert(fc.property(anyLoad, anyShare, (loaded, share) => {
      const budget = between(loaded, share)
      const { regions, chosen } = redivide(loaded, budget)
      const all = regions.pinCount === loaded.plan.regions.pinCount && regions.poolSlots === loaded.plan.regions.poolSlots
      // With a ring of its own a load may hold one layer's experts at most.
      if (all || loaded.plan.regions.ringBytes > 0) return
      // Where a ring must be cut first, up to its size stays free just below the point where all bands fit.
      expect(budget - chosen.total).toBeLessThan(4096 + Math.max(regions.poolSlotBytes, ...loaded.manifest.blocks.hullBytes) + 1)
    }))
  })

  test('never holds less when it is larger, and at the end what was loaded', () => {
    fc.assert(fc.property(anyLoad, anyShare, anyShare, (loaded, a, b) => {
      const [less, more] = [Math.min(a, b), Math.max(a, b)].map((share) => redivide(loaded, between(loaded, share)).chosen)
      expect(more!.total).toBeGreaterThanOrEqual(less!.total)
      for (const budget of [loaded.plan.regions.budgetBytes, Math.max(leastBudgetBytes(loaded), loaded.plan.chosen.total)]) {
        const { regions, mode } = redivide(loaded, budget)
        expect({ ...regions, budgetBytes: 0 }).toEqual({ ...loaded.plan.regions, budgetBytes: 0 })
        expect(mode).toBe(loaded.plan.mode)
      }
    }))
  })

  test('holds what was loaded without the bytes that loading left over', () => {
    const manifest = manifests.at(-1)!
    const least = loadedWith(manifest, 0, 'stream').plan.regions.budgetBytes
    const whole = loadedWith(manifest, 1, 'stream').plan.regions.budgetBytes
    for (let budget = least; budget < least + 5 * manifest.expertSlotBytes; budget += 3 * 4096) {
      const loaded = loadedWith(manifest, (budget - least) / (whole - least), 'stream')
      expect(redivide(loaded, loaded.plan.chosen.total).regions).toMatchObject({ pinCount: loaded.plan.regions.pinCount, poolSlots: loaded.plan.regions.poolSlots })
    }
  })

  test('a page less than the least is refused with the least, a page more than was loaded with what was', () => {
    fc.assert(fc.property(anyLoad, (loaded) => {
      const least = leastBudgetBytes(loaded)
      expect(least).toBeLessThanOrEqual(loaded.plan.regions.budgetBytes)
      expect(redivide(loaded, least).chosen.total).toBeLessThanOrEqual(least)
      const codeOf = (budget: number): string => {
        try {
          redivide(loaded, budget)
          return 'accepted'
        } catch (error) {
          return (error as HypuraError).code
        }
      }
      expect(codeOf(least - 4096)).toBe('ERR_HYPURA_INSUFFICIENT_MEMORY')
      expect(codeOf(loaded.plan.regions.budgetBytes + 4096)).toBe('ERR_HYPURA_INVALID_ARGUMENT')
    }))
  })
})
