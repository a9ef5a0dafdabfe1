// What could break: the bytes that a speed is held against are not those that the engine must read, and every "% of bound" lies.
// How we notice: the same sums, taken from the tensors of the file row by row, for random budgets of several models.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { buildManifest } from '../manifest/block-manifest.js'
import { planMemory } from './memory-budget.js'
import { sweepReads } from './sweep-reads.js'

const wide = { nEmbd: 1024, nHead: 16, nHeadKv: 4, nVocab: 8000, nFf: 2816, nLayer: 6 }
const models = [
  tinyDense, { ...tinyDense, ...wide, type: 'Q8_0' }, { ...tinyMixture, ...wide, headDim: 64, nFfExpert: 512, nExpert: 32, nExpertUsed: 4, type: 'Q4_K' },
].map((shape) => fakeModel(fakeFamily(shape)))
const manifests = await Promise.all(models.map((model) => buildManifest(model)))

/** Bytes of one row of the tensor that a band belongs to, by the file's own table. */
const rowBytes = (index: number, band: number): number => {
  const { blocks, tensors } = manifests[index]!
  const { name, rows } = tensors[blocks.tensor[band]!]!
  return models[index]!.tensors.get(name)!.bytes / rows
}

test('streamed bytes are the rows that are not pinned, and the head is the part of them behind the first head band', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: models.length - 1 }), fc.double({ min: 0, max: 1.2, noNaN: true }), (index, share) => {
    const manifest = manifests[index]!
    const request = { manifest, contextLength: 256, measure: () => ({ kvBytes: 8192, scratchBytes: 8192 }) }
    const { floor, resident } = planMemory({ ...request, budgetBytes: 2 ** 40 })
    const plan = planMemory({ ...request, budgetBytes: Math.ceil(floor.total + Math.max(0, resident.total - floor.total) * share) })
    const reads = sweepReads(manifest, plan)
    const pinned = new Set(manifest.pinOrder.subarray(0, plan.regions.pinCount))
    const streamed = Array.from({ length: manifest.bands.count }, (_, band) => band).filter((band) => !pinned.has(band))
    const bytesOf = (bands: readonly number[]): number => bands.reduce((sum, band) => sum + manifest.blocks.rowCount[band]! * rowBytes(index, band), 0)
    expect(reads.streamedBytes).toBe(bytesOf(streamed))
    expect(reads.streamedHeadBytes).toBe(bytesOf(streamed.filter((band) => band >= manifest.firstHeadBand)))
    expect(reads.streamedBytes).toBeLessThanOrEqual(manifest.cycleBytes - plan.chosen.pinned)
    expect(reads.streamedBands).toBe(streamed.length)
    if (plan.mode === 'resident') expect(reads).toMatchObject({ streamedBytes: 0, streamedBands: 0, meanReadBytes: 0 })
    else expect(reads.meanReadBytes).toBeGreaterThan(0)
  }), { numRuns: 100 })
})
