// What could break: a hostile or damaged header that becomes a wrong shape, a wrong answer, or an untyped exception. How we
// notice: each class of malformed hyper-parameters (P), shapes (S13) and roles (S14) is one change of a valid model, and the
// error must be typed and name the key or the tensor.
import { expect, test } from 'vitest'
import { fakeFamily, tinyDense, tinyMixture, withMetadata, withTensor } from '../../test/support/fake-families.js'
import { fakeModel, type FakeModel, type FakeValue } from '../../test/support/fake-model.js'
import { HypuraError } from '../base/errors.js'
import { buildManifest } from './block-manifest.js'

const dense = fakeFamily(tinyDense)
const mixture = fakeFamily(tinyMixture)

async function failure(model: FakeModel): Promise<HypuraError> {
  const result = await buildManifest(fakeModel(model)).then(() => undefined, (error: unknown) => error)
  expect(result).toBeInstanceOf(HypuraError)
  return result as HypuraError
}

test('the models that are changed below are valid', async () => {
  await buildManifest(fakeModel(dense))
  await buildManifest(fakeModel(mixture))
})

const badNumbers: [string, FakeValue[]][] = [
  ['block_count', [0, 2 ** 31, 2 ** 32 - 1, 1, 3]],
  ['context_length', [0, 2 ** 40]],
  ['embedding_length', [0, 32, 65]],
  ['feed_forward_length', [0, 95, [96], [96, 97], [-1, -1]]],
  ['attention.head_count', [0, 3, [4], [4, 4, 4], [4, -4], [4, 8]]],
  ['attention.head_count_kv', [0, 3, 8, 1, [2, -2]]],
  ['attention.layer_norm_rms_epsilon', [0, Number.NaN, -1, Infinity]],
  ['rope.dimension_count', [0, 3, 18]],
  ['rope.freq_base', [0, Number.NaN, -1]],
  ['rope.scaling.factor', [0, Number.NaN]],
  ['vocab_size', [0, 79]],
]
test.each(badNumbers.flatMap(([suffix, values]) => values.map((value) => [suffix, value] as const)))(
  'P: %s = %j', async (suffix, value) => {
    const error = await failure(withMetadata(dense, { [`llama.${suffix}`]: value }))
    expect(['ERR_HYPURA_CORRUPT_GGUF', 'ERR_HYPURA_UNSUPPORTED_MODEL']).toContain(error.code)
    expect(`${error.details.field} ${error.details.tensor}`).toMatch(/llama\.|blk\.|attention\.|feed_forward|embedding/)
  },
)

const typed: FakeValue[] = ['text', 1.5, [1], true]
const required = ['block_count', 'context_length', 'embedding_length', 'attention.head_count', 'attention.layer_norm_rms_epsilon']
test.each(required.flatMap((suffix) => [undefined, ...typed].map((value) => [suffix, value] as const)))(
  'P: %s typed or missing: %j', async (suffix, value) => {
    if (suffix.endsWith('epsilon') && value === 1.5) return // a float is its type
    const error = await failure(withMetadata(dense, { [`llama.${suffix}`]: value }))
    expect(error.code).toBe('ERR_HYPURA_CORRUPT_GGUF')
    expect(error.details.field).toBe(`llama.${suffix}`)
  },
)

test.each<[string, FakeValue | undefined]>([
  ['expert_count', 0], ['expert_count', undefined], ['expert_count', 2 ** 31], ['expert_count', 7],
  ['expert_used_count', 0], ['expert_used_count', 9], ['expert_used_count', undefined],
])('P5: %s = %j', async (suffix, value) => {
  const error = await failure(withMetadata(mixture, { [`qwen3moe.${suffix}`]: value }))
  expect(error.code).toBe('ERR_HYPURA_CORRUPT_GGUF')
  expect(error.details.field).toContain(suffix)
})

test('P5: expert tensors in a file that declares no experts', async () => {
  const error = await failure(withMetadata(fakeFamily({ ...tinyDense, nExpert: 4 }), { 'llama.expert_count': undefined }))
  expect(error.details).toMatchObject({ rule: 'P5', field: 'llama.expert_count' })
})

test('P9: the list of tokens is as long as the embedding', async () => {
  const error = await failure(withMetadata(dense, { 'tokenizer.ggml.tokens': ['a', 'b'] }))
  expect(error.details).toMatchObject({ rule: 'P9', field: 'tokenizer.ggml.tokens' })
})

test.each([['lama'], ['__proto__'], ['constructor'], ['../../x'], ['gpt-oss'], ['x'.repeat(10_000)]])('P11: architecture %s', async (name) => {
  const error = await failure(withMetadata(dense, { 'general.architecture': name }))
  expect(error.code).toBe('ERR_HYPURA_UNSUPPORTED_ARCH')
  expect(error.message).toContain('qwen3moe')
  expect(error.message.length).toBeLessThan(400)
  if (name === 'lama') expect(error.message).toContain('the nearest is "llama"')
})

test.each([
  ['blk.0.attn_q.weight', [64, 32]], ['blk.1.attn_k.weight', [64, 64]], ['blk.0.ffn_down.weight', [64, 96]],
  ['blk.0.attn_norm.weight', [63]], ['output.weight', [64, 79]], ['token_embd.weight', [64, 80, 2]],
])('S13: %s as %j', async (name, dims) => {
  const error = await failure(withTensor(dense, name, { dims }))
  expect(error.code).toBe('ERR_HYPURA_CORRUPT_GGUF')
  expect(error.message).toContain(name)
})

test('S13: the number of experts', async () => {
  expect((await failure(withTensor(mixture, 'blk.1.ffn_up_exps.weight', { dims: [64, 32, 7] }))).details).toMatchObject({
    rule: 'S13', tensor: 'blk.1.ffn_up_exps.weight', allowed: '64 x 32 x 8',
  })
})

test.each(dense.tensors.map(({ name }) => [name]))('S14: without %s', async (name) => {
  if (name === 'output.weight') {
    const manifest = await buildManifest(fakeModel(withTensor(dense, name, null)))
    expect(manifest.tensors.at(-1)).toMatchObject({ role: 'output', name: 'token_embd.weight' })
    return
  }
  expect((await failure(withTensor(dense, name, null))).details).toMatchObject({ rule: 'S14', tensor: name })
})

test('S14: a family whose head is its own cannot do without it', async () => {
  const olmoe = fakeFamily({ ...tinyDense, architecture: 'olmoe', nExpert: 4, tied: true })
  expect((await failure(olmoe)).details).toMatchObject({ rule: 'S14', tensor: 'output.weight' })
})

test('S14: norms and biases are F32, weights have a kernel', async () => {
  for (const [name, type] of [['blk.0.attn_norm.weight', 'F16'], ['output_norm.weight', 'Q8_0'], ['blk.0.attn_q.weight', 'Q8_1'], ['token_embd.weight', 'NVFP4']]) {
    const error = await failure(withTensor(dense, name!, { type: type! }))
    expect(error.code).toBe('ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE')
    expect(error.details).toMatchObject({ tensor: name, found: type })
  }
})

test.each([
  ['blk.0.attn_q.bias', 'qwen3'], ['blk.0.attn_sinks.weight', 'llama'], ['blk.1.attn_q_norm.weight', 'llama'],
  ['blk.0.post_attention_norm.weight', 'llama'], ['blk.0.attn_norm.bias', 'llama'], ['output_norm.bias', 'llama'],
  ['rope_factors_long.weight', 'llama'], ['rope_freqs.weight', 'qwen2'], ['blk.0.exp_probs_b.bias', 'llama'],
])('a tensor that would change the answer is not left out: %s in %s', async (name, architecture) => {
  const error = await failure(withTensor(fakeFamily({ ...tinyDense, architecture }), name, { dims: [64] }))
  expect(error.code).toBe('ERR_HYPURA_UNSUPPORTED_MODEL')
  expect(error.message).toContain(name)
})

test('P1: layers beyond block_count', async () => {
  expect((await failure(withMetadata(dense, { 'llama.block_count': 1 }))).details).toMatchObject({ rule: 'P1', field: 'llama.block_count' })
})

test.each<[string, FakeValue]>([
  ['attention.clamp_kqv', 8], ['final_logit_softcapping', 30], ['attn_logit_softcapping', 50], ['expert_group_count', 8],
  ['leading_dense_block_count', 1], ['logit_scale', 2], ['use_parallel_residual', true], ['attention.causal', false],
  ['rope.scaling.type', 'longrope'], ['nextn_predict_layers', 1],
])('a setting that would change the answer is refused: %s = %j', async (suffix, value) => {
  const error = await failure(withMetadata(dense, { [`llama.${suffix}`]: value }))
  expect(error.code).toBe('ERR_HYPURA_UNSUPPORTED_MODEL')
  expect(error.details.field).toBe(`llama.${suffix}`)
})

test('files that hold no model are named', async () => {
  expect((await failure(withMetadata(dense, { 'general.type': 'adapter' }))).code).toBe('ERR_HYPURA_UNSUPPORTED_MODEL')
  expect((await failure({ ...dense, tensors: [] })).details).toMatchObject({ rule: 'S14', tensor: 'token_embd.weight' })
})

test('A1, A8: placeholders, unknown tensors and unknown keys are ignored', async () => {
  const odd = [
    withTensor(dense, 'blk.0.attn_q.bias', { dims: [0] }),
    withTensor(dense, 'blk.7.some_new_thing.weight', { dims: [3] }),
    withTensor(dense, 'vendor.extra', { dims: [3] }),
    withMetadata(dense, { 'llama.new_setting': 7, __proto__key: 'x', 'llama.attention.clamp_kqv': 0 }),
  ]
  const plain = await buildManifest(fakeModel(dense))
  for (const model of odd) expect((await buildManifest(fakeModel(model))).spec).toEqual(plain.spec)
})

test('P10: a header without layers fails before anything is divided', async () => {
  expect((await failure({ metadata: { 'general.architecture': 'llama' }, tensors: [] })).details.field).toBe('llama.block_count')
})
