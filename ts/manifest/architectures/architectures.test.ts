// What could break: a family read with another family's flags, which gives fluent nonsense. How we notice: each family is
// written as its converter writes it, and the spec is compared with the published description of the model.
import { expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture, withMetadata, withTensor, type FamilyShape } from '../../../test/support/fake-families.js'
import { fakeModel, type FakeModel } from '../../../test/support/fake-model.js'
import { buildManifest, type BlockManifest } from '../block-manifest.js'
import { architectures } from './index.js'

const build = (model: FakeModel): Promise<BlockManifest> => buildManifest(fakeModel(model))
const roles = ({ tensors }: BlockManifest, layer?: number): string[] => tensors.filter((tensor) => tensor.layer === layer).map(({ role }) => role)

test.each<[string, Partial<FamilyShape>, object]>([
  ['llama', {}, { rope: 'norm', qkNorm: 'none', nExpert: 0, nFf: 96 }],
  ['qwen2', {}, { rope: 'neox', qkNorm: 'none' }],
  ['qwen3', { headDim: 32 }, { rope: 'neox', qkNorm: 'perHead', headDimK: 32, nRot: 32 }],
  ['granite', {}, { rope: 'norm', logitScale: 1 / 8, residualScale: 1 }],
  ['llama', { nExpert: 4, nExpertUsed: 2 }, { rope: 'norm', nFf: 0, nFfExpert: 96, gating: 'softmax', gatingNormalised: true }],
  ['qwen2moe', { nExpert: 4, nFfExpert: 32, nFfShared: 64 }, { rope: 'neox', gatingNormalised: false, nFfShared: 64, nFfExpert: 32 }],
  ['qwen3moe', { nExpert: 8, nFfExpert: 32 }, { rope: 'neox', qkNorm: 'perHead', gatingNormalised: true, nFfShared: 0 }],
  ['olmoe', { nExpert: 8 }, { rope: 'neox', qkNorm: 'wholeRow', gatingNormalised: false, nFfExpert: 96 }],
  ['granitemoe', { nExpert: 8 }, { rope: 'norm', gatingNormalised: true, nFfShared: 0 }],
  ['granitemoe', { nExpert: 8, nFfShared: 64 }, { nFfShared: 64 }],
])('%s %j', async (architecture, shape, wanted) => {
  const { spec } = await build(fakeFamily({ ...tinyDense, ...shape, architecture }))
  expect(spec).toMatchObject(wanted)
  expect(spec.invFreq.length).toBe(spec.nRot / 2)
  expect(spec.attentionScale).toBe(1 / Math.sqrt(spec.headDimK))
})

test('the table of families is complete and names itself', () => {
  expect([...architectures.keys()]).toEqual(['llama', 'qwen2', 'qwen2moe', 'qwen3', 'qwen3moe', 'olmoe', 'granite', 'granitemoe'])
})

test('execution order of a dense layer, of a mixture layer, of the ends', async () => {
  const dense = await build(fakeFamily({ ...tinyDense, architecture: 'qwen2' }))
  expect(roles(dense, 1)).toEqual([
    'attentionNorm', 'query', 'queryBias', 'key', 'keyBias', 'value', 'valueBias', 'attentionOutput', 'ffnNorm', 'ffnGate', 'ffnUp', 'ffnDown',
  ])
  const shared = await build(fakeFamily({ ...tinyDense, architecture: 'qwen2moe', nExpert: 4, nFfExpert: 32, nFfShared: 64 }))
  expect(roles(shared, 0).slice(-9)).toEqual([
    'ffnNorm', 'router', 'sharedRouter', 'sharedGate', 'sharedUp', 'sharedDown', 'expertGate', 'expertUp', 'expertDown',
  ])
  expect(roles(dense)).toEqual(['tokenEmbedding', 'outputNorm', 'output'])
})

test('a head size that is given need not divide the width', async () => {
  const { spec } = await build(fakeFamily({ ...tinyMixture, nEmbd: 96, nHead: 5, nHeadKv: 5, headDim: 32 }))
  expect(spec).toMatchObject({ nHead: 5, headDimK: 32 })
})

test('optional biases of llama are taken, and required ones of qwen2 are missed', async () => {
  const model = withTensor(fakeFamily(tinyDense), 'blk.0.attn_output.bias', { dims: [64], type: 'F32' })
  expect(roles(await build(model), 0)).toContain('attentionOutputBias')
  await expect(build(withTensor(fakeFamily({ ...tinyDense, architecture: 'qwen2' }), 'blk.1.attn_k.bias', null))).rejects.toMatchObject({
    code: 'ERR_HYPURA_CORRUPT_GGUF', details: { rule: 'S14', tensor: 'blk.1.attn_k.bias' },
  })
})

test('experts in tensors of their own are the same blocks as stacked ones', async () => {
  const shape: FamilyShape = { ...tinyDense, nExpert: 4, nExpertUsed: 2 }
  const stacked = fakeFamily(shape)
  const apart: FakeModel = {
    ...stacked,
    tensors: stacked.tensors.flatMap((tensor) => {
      const match = /^(blk\.\d+\.ffn_(?:gate|up|down))_exps\.weight$/.exec(tensor.name)
      if (match === null) return [tensor]
      return Array.from({ length: 4 }, (_, expert) => ({ ...tensor, name: `${match[1]}.${expert}.weight`, dims: tensor.dims.slice(0, 2) }))
    }),
  }
  const [a, b] = [await build(stacked), await build(apart)]
  expect(b.experts).toEqual(a.experts)
  expect([...b.extents.bytes]).toEqual([...a.extents.bytes])
  expect([...b.blocks.expert]).toEqual([...a.blocks.expert])
  await expect(build(withTensor(apart, 'blk.1.ffn_up.3.weight', null))).rejects.toMatchObject({ details: { rule: 'S14', tensor: 'blk.1.ffn_up.3.weight' } })
})

test('gate and up in one tensor make blocks of two extents', async () => {
  const model = fakeFamily(tinyMixture)
  const fused: FakeModel = {
    ...model,
    tensors: model.tensors.filter(({ name }) => !/ffn_up_exps/.test(name)).map((tensor) =>
      /ffn_gate_exps/.test(tensor.name) ? { ...tensor, name: tensor.name.replace('gate', 'gate_up'), dims: [64, 64, 8] } : tensor),
  }
  const { blocks, experts, tensors } = await build(fused)
  expect(blocks.extentCount[experts.first]).toBe(2)
  expect(tensors.filter(({ layer }) => layer === 0).map(({ role }) => role).slice(-2)).toEqual(['expertGateUp', 'expertDown'])
})

test('a file may overrule gating, normalisation and scale', async () => {
  const model = withMetadata(fakeFamily(tinyMixture), {
    'qwen3moe.expert_gating_func': 2, 'qwen3moe.expert_weights_norm': false, 'qwen3moe.expert_weights_scale': 2.5,
  })
  expect((await build(model)).spec).toMatchObject({ gating: 'sigmoid', gatingNormalised: false, expertWeightsScale: 2.5 })
})

test('granite: scales, and no rotation where the file says so', async () => {
  const model = withMetadata(fakeFamily({ ...tinyDense, architecture: 'granite' }), {
    'granite.embedding_scale': 12, 'granite.residual_scale': 0.22, 'granite.attention.scale': 0.015625, 'granite.rope.scaling.finetuned': false,
  })
  expect((await build(model)).spec).toMatchObject({
    embeddingScale: 12, residualScale: 0.22, attentionScale: 0.015625, rope: 'none', nRot: 0, logitScale: 0.125,
  })
})

test('a sliding window bounds the context', async () => {
  const model = withMetadata(fakeFamily(tinyDense), { 'llama.attention.sliding_window': 1024 })
  expect((await build(model)).spec.contextTrain).toBe(1024)
})

test('partial rotation', async () => {
  const { spec } = await build(withMetadata(fakeFamily(tinyDense), { 'llama.rope.dimension_count': 8 }))
  expect(spec.nRot).toBe(8)
  expect(spec.invFreq.length).toBe(4)
})
