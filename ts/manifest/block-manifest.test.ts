// What could break: a byte of a weight that belongs to no block or to two, a band out of order, sizes that the budget adds up
// wrongly. How we notice: every byte of every tensor is painted once, for real files and for models of every family.
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture, type FamilyShape } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { sharedFiles } from '../../test/support/shared-files.js'
import { openGguf } from '../gguf/parse.js'
import type { GgufModel } from '../gguf/types.js'
import { blockKind, nativeLimits, quantType, tensorRole } from '../native/layout.gen.js'
import { alignDown, alignUp, directAlignmentBytes, readBytesMax, rowsPerRowBand } from './bands.js'
import { blockKinds } from './block-builder.js'
import { buildManifest, type BlockManifest } from './block-manifest.js'
import { kernelTypes } from './kernel-types.js'
import { residenceOf, roleOrder } from './tensor-role.js'

interface Span { readonly begin: number; readonly end: number; readonly block: number }

/** Extents of these kinds by file, in file order. */
function spans({ blocks, extents }: BlockManifest, wanted: (block: number) => boolean): Span[][] {
  const byFile: Span[][] = []
  for (let block = 0; block < blocks.count; block++) {
    if (!wanted(block)) continue
    for (let i = blocks.firstExtent[block]!; i < blocks.firstExtent[block]! + blocks.extentCount[block]!; i++) {
      const list = (byFile[extents.file[i]!] ??= [])
      list.push({ begin: extents.offset[i]!, end: extents.offset[i]! + extents.bytes[i]!, block })
    }
  }
  for (const list of byFile) list?.sort((a, b) => a.begin - b.begin)
  return byFile
}

/** Every byte of every tensor in one extent; the head of a tied model lists the embedding's a second time. */
function expectCovered(model: GgufModel, manifest: BlockManifest): void {
  const tied = manifest.tensors.find(({ role }) => role === 'output')!.name === 'token_embd.weight'
  const isTiedHead = (block: number): boolean => tied && block >= manifest.firstHeadBand && block < manifest.bands.count
  const covered = spans(manifest, (block) => !isTiedHead(block))
  for (const tensor of model.tensors.values()) {
    if (tensor.name === 'rope_freqs.weight' || tensor.bytes === 0) continue
    let next = tensor.offset
    for (const { begin, end } of covered[tensor.file]!.filter((span) => span.end > tensor.offset && span.begin < tensor.offset + tensor.bytes)) {
      expect(begin).toBe(next)
      next = end
    }
    expect(next).toBe(tensor.offset + tensor.bytes)
  }
  if (!tied) return
  const embedding = model.tensors.get('token_embd.weight')!
  const head = spans(manifest, isTiedHead)[embedding.file]!
  expect(head[0]!.begin).toBe(embedding.offset)
  expect(head.reduce((sum, { begin, end }) => sum + end - begin, 0)).toBe(embedding.bytes)
}

function expectSound(manifest: BlockManifest): void {
  const { blocks, extents, tensors, bands, experts, rowBands, trunk, spec } = manifest
  expect([bands.first, experts.first, rowBands.first, trunk.first, blocks.count]).toEqual([
    0, bands.count, bands.count + experts.count, bands.count + experts.count + rowBands.count,
    bands.count + experts.count + rowBands.count + trunk.count,
  ])
  const sum = { band: 0, expert: 0, trunk: 0, rowBand: 0 }
  const kindNames = ['trunk', 'band', 'rowBand', 'expert'] as const
  for (let block = 0; block < blocks.count; block++) {
    let hull = 0
    for (let i = blocks.firstExtent[block]!; i < blocks.firstExtent[block]! + blocks.extentCount[block]!; i++) {
      hull += alignUp(extents.offset[i]! + extents.bytes[i]!) - alignDown(extents.offset[i]!)
      expect(extents.bytes[i]).toBeGreaterThan(0)
      expect(extents.offset[i]! + extents.bytes[i]!).toBeLessThanOrEqual(manifest.files[extents.file[i]!]!.sizeBytes)
    }
    expect(blocks.hullBytes[block]).toBe(hull)
    sum[kindNames[blocks.kind[block]!]!] += hull
  }
  expect([sum.band, sum.expert, sum.trunk]).toEqual([manifest.cycleBytes, manifest.expertBytes, manifest.trunkBytes])
  // Execution order: the layer never falls, then the head; roles in their order inside a layer.
  let place = -1
  for (let block = 0; block < bands.count; block++) {
    const { role, layer } = tensors[blocks.tensor[block]!]!
    const here = (layer ?? spec.nLayer) * roleOrder.length + roleOrder.indexOf(role)
    expect(here).toBeGreaterThanOrEqual(place)
    expect(blocks.layer[block]).toBe(layer ?? 0xffff)
    place = here
  }
  expect(tensors[blocks.tensor[bands.count - 1]!]!.role).toBe('output')
  for (const [index, tensor] of tensors.entries()) {
    const residence = residenceOf(tensor.role)
    for (let i = 0; i < tensor.blockCount; i++) {
      const block = tensor.firstBlock + i
      if (residence === 'experts') expect([blocks.expert[block], blocks.layer[block]]).toEqual([i, tensor.layer])
      else expect(blocks.tensor[block]).toBe(index)
    }
    if (residence === 'rows') expect(blocks.rowCount[tensor.firstBlock]).toBe(Math.min(rowsPerRowBand, tensor.rows))
  }
  expect([...manifest.pinOrder].sort((a, b) => a - b)).toEqual(Array.from({ length: bands.count }, (_, i) => i))
  expect(manifest.expertSlotBytes % directAlignmentBytes + (manifest.rowSlotBytes % directAlignmentBytes)).toBe(0)
}

const families: FamilyShape[] = [
  tinyDense, tinyMixture, { ...tinyDense, tied: true },
  { ...tinyDense, architecture: 'qwen2', type: 'Q8_0', nVocab: 1000 },
  { ...tinyDense, architecture: 'qwen2moe', nExpert: 6, nFfExpert: 32, nFfShared: 64 },
  { ...tinyMixture, nEmbd: 2048, nHead: 32, nHeadKv: 4, headDim: 128, nFfExpert: 768, nVocab: 20_000, type: 'Q4_K', downType: 'Q6_K', nExpert: 16 },
]
test.each(families.map((shape) => [shape.architecture, shape] as const))('every byte of a fake %s once', async (_, shape) => {
  const model = fakeModel(fakeFamily(shape))
  const manifest = await buildManifest(model)
  expectSound(manifest)
  expectCovered(model, manifest)
})

const files = sharedFiles('models', '.gguf')
test.skipIf(files.length === 0).each(files.map((path) => [basename(path), path] as const))('every byte of %s once', async (_, path) => {
  const model = await openGguf(path)
  const manifest = await buildManifest(model)
  expectSound(manifest)
  expectCovered(model, manifest)
})

test('the worked example: gate 768 x 2048 Q4_K, an equal up, a Q6_K down', async () => {
  const shape: FamilyShape = { ...tinyMixture, nEmbd: 2048, nHead: 32, nHeadKv: 4, headDim: 128, nFfExpert: 768, type: 'Q4_K', downType: 'Q6_K' }
  const { blocks, experts, expertSlotBytes } = await buildManifest(fakeModel(fakeFamily(shape)))
  expect(blocks.extentCount[experts.first]).toBe(3)
  expect(expertSlotBytes).toBe((217 + 217 + 316) * 4096)
})

test('numbers that both sides know are the same on both sides', () => {
  expect(blockKinds).toEqual(blockKind)
  expect([...roleOrder].sort()).toEqual(Object.keys(tensorRole).sort())
  expect(Object.fromEntries([...kernelTypes.values()].map(({ id, name }) => [name, id]))).toEqual(quantType)
  expect(readBytesMax).toBe(nativeLimits.readBytesMax)
  expect(directAlignmentBytes).toBe(nativeLimits.directAlignmentBytes)
  expect(rowsPerRowBand).toBe(nativeLimits.rowsPerRowBand)
})
