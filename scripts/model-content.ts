/**
 * What stands in a generated model: metadata and tensors of a shape, named as converters name them.
 *
 * Deviations are chosen so that 32 random layers neither fade nor blow up and logits differ: normed inputs of mean
 * square 1 give projections of deviation 1, the head gives logits of deviation 3.
 */
import { byteVocabulary } from './byte-vocabulary.js'
import type { GgufValue, TensorSource } from './gguf-writer.js'
import { fileTypes, weightType, type ModelShape, type WeightKind } from './model-shape.js'
import { floatBits } from './random-numbers.js'
import { weightChunks } from './random-weights.js'

const f32 = 0
const logitDeviation = 3
const routerDeviation = 2
const downGain = 1.5
const normJitter = 0.1
const biasDeviation = 0.1

export function modelMetadata(shape: ModelShape): Map<string, GgufValue> {
  const family = shape.arch === 'mixtral' ? 'llama' : shape.arch
  const metadata = new Map<string, GgufValue>()
  const text = (key: string, value: string): void => void metadata.set(key, { type: 'string', value })
  const u32 = (key: string, value: number): void => void metadata.set(key, { type: 'u32', value })
  const float = (key: string, value: number): void => void metadata.set(key, { type: 'f32', value })

  text('general.architecture', family)
  text('general.type', 'model')
  text('general.name', shape.name)
  text('general.description', `Random weights, seed ${shape.seed}: for tests and measurements, not for reading.`)
  u32('general.file_type', fileTypes[shape.quant])
  u32('general.quantization_version', 2)
  u32(`${family}.block_count`, shape.layers)
  u32(`${family}.context_length`, shape.context)
  u32(`${family}.embedding_length`, shape.width)
  u32(`${family}.feed_forward_length`, shape.experts > 0 && family !== 'qwen3moe' ? shape.expertFf : shape.ff)
  u32(`${family}.attention.head_count`, shape.heads)
  u32(`${family}.attention.head_count_kv`, shape.kvHeads)
  u32(`${family}.attention.key_length`, shape.headDim)
  u32(`${family}.attention.value_length`, shape.headDim)
  float(`${family}.attention.layer_norm_rms_epsilon`, 1e-5)
  u32(`${family}.rope.dimension_count`, shape.headDim)
  float(`${family}.rope.freq_base`, shape.ropeBase)
  u32(`${family}.vocab_size`, shape.vocab)
  if (shape.experts > 0) {
    u32(`${family}.expert_count`, shape.experts)
    u32(`${family}.expert_used_count`, shape.expertsUsed)
    if (family === 'qwen3moe') u32(`${family}.expert_feed_forward_length`, shape.expertFf)
  }
  if (shape.ropeScaling === 'linear' || shape.ropeScaling === 'yarn') {
    text(`${family}.rope.scaling.type`, shape.ropeScaling)
    float(`${family}.rope.scaling.factor`, shape.ropeFactor)
    u32(`${family}.rope.scaling.original_context_length`, shape.ropeOriginalContext)
  }
  addTokenizer(metadata, shape.vocab)
  return metadata
}

const chatTemplate =
  "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"

function addTokenizer(metadata: Map<string, GgufValue>, size: number): void {
  const { tokens, types, merges, endId } = byteVocabulary(size)
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' })
  metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'gpt-2' })
  metadata.set('tokenizer.ggml.tokens', { type: 'array', of: 'string', values: tokens })
  metadata.set('tokenizer.ggml.token_type', { type: 'array', of: 'i32', values: types })
  metadata.set('tokenizer.ggml.merges', { type: 'array', of: 'string', values: merges })
  metadata.set('tokenizer.ggml.bos_token_id', { type: 'u32', value: endId })
  metadata.set('tokenizer.ggml.eos_token_id', { type: 'u32', value: endId })
  metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: true })
  metadata.set('tokenizer.chat_template', { type: 'string', value: chatTemplate })
}

/** Tensors in the order of the file: embedding, layers, output. */
export function modelTensors(shape: ModelShape): TensorSource[] {
  const { layers, width, vocab, tied, experts } = shape
  const build = new TensorList(shape)
  // A tied embedding is the head as well, so its deviation is the head's.
  build.weight('token_embd.weight', 'embedding', 0, [width, vocab], tied ? logitDeviation / Math.sqrt(width) : 1)
  if (shape.ropeScaling === 'llama3') build.values('rope_freqs.weight', llama3Factors(shape))
  for (let layer = 0; layer < layers; layer++) {
    addAttention(build, shape, layer)
    if (experts > 0) addExperts(build, shape, layer)
    else addDense(build, shape, layer)
  }
  build.norm('output_norm.weight', width)
  if (!tied) build.weight('output.weight', 'head', 0, [width, vocab], logitDeviation / Math.sqrt(width))
  return build.tensors
}

function addAttention(build: TensorList, { arch, width, heads, kvHeads, headDim }: ModelShape, layer: number): void {
  const name = (part: string): string => `blk.${layer}.${part}`
  const [queries, keys] = [heads * headDim, kvHeads * headDim]
  const unit = 1 / Math.sqrt(width)
  build.norm(name('attn_norm.weight'), width)
  build.weight(name('attn_q.weight'), 'other', layer, [width, queries], unit)
  build.weight(name('attn_k.weight'), 'other', layer, [width, keys], unit)
  build.weight(name('attn_v.weight'), 'value', layer, [width, keys], unit)
  if (arch === 'qwen2') {
    build.floats(name('attn_q.bias'), [queries], 0, biasDeviation)
    build.floats(name('attn_k.bias'), [keys], 0, biasDeviation)
    build.floats(name('attn_v.bias'), [keys], 0, biasDeviation)
  }
  if (arch === 'qwen3' || arch === 'qwen3moe') {
    build.norm(name('attn_q_norm.weight'), headDim)
    build.norm(name('attn_k_norm.weight'), headDim)
  }
  if (arch === 'olmoe') {
    build.norm(name('attn_q_norm.weight'), queries)
    build.norm(name('attn_k_norm.weight'), keys)
  }
  build.weight(name('attn_output.weight'), 'attention-output', layer, [queries, width], 1 / Math.sqrt(queries))
}

function addDense(build: TensorList, { width, ff }: ModelShape, layer: number): void {
  const name = (part: string): string => `blk.${layer}.${part}`
  build.norm(name('ffn_norm.weight'), width)
  build.weight(name('ffn_gate.weight'), 'other', layer, [width, ff], 1 / Math.sqrt(width))
  build.weight(name('ffn_up.weight'), 'other', layer, [width, ff], 1 / Math.sqrt(width))
  build.weight(name('ffn_down.weight'), 'down', layer, [ff, width], downGain / Math.sqrt(ff))
}

function addExperts(build: TensorList, { width, experts, expertFf }: ModelShape, layer: number): void {
  const name = (part: string): string => `blk.${layer}.${part}`
  build.norm(name('ffn_norm.weight'), width)
  build.floats(name('ffn_gate_inp.weight'), [width, experts], 0, routerDeviation / Math.sqrt(width))
  build.weight(name('ffn_gate_exps.weight'), 'other', layer, [width, expertFf, experts], 1 / Math.sqrt(width))
  build.weight(name('ffn_up_exps.weight'), 'other', layer, [width, expertFf, experts], 1 / Math.sqrt(width))
  build.weight(name('ffn_down_exps.weight'), 'down', layer, [expertFf, width, experts], downGain / Math.sqrt(expertFf))
}

/**
 * Divisors of the rotation frequencies: long waves are stretched by the factor, short ones kept, blended in between.
 * @see the Llama 3.1 model card: low frequency factor 1, high 4
 */
function llama3Factors({ headDim, ropeBase, ropeFactor, ropeOriginalContext }: ModelShape): number[] {
  const [low, high] = [1, 4]
  return Array.from({ length: headDim / 2 }, (_, i) => {
    const turns = ropeOriginalContext / (2 * Math.PI * ropeBase ** ((2 * i) / headDim))
    if (turns < low) return ropeFactor
    if (turns > high) return 1
    const blend = (turns - low) / (high - low)
    return 1 / ((1 - blend) / ropeFactor + blend)
  })
}

class TensorList {
  readonly tensors: TensorSource[] = []
  readonly #shape: ModelShape

  constructor(shape: ModelShape) {
    this.#shape = shape
  }

  /** A 2-D or 3-D weight in the type that the mix gives it. */
  weight(name: string, kind: WeightKind, layer: number, dims: readonly number[], deviation: number): void {
    this.#random(name, weightType(this.#shape, kind, layer, dims[0]!), dims, 0, deviation)
  }

  floats(name: string, dims: readonly number[], mean: number, deviation: number): void {
    this.#random(name, f32, dims, mean, deviation)
  }

  norm(name: string, length: number): void {
    this.floats(name, [length], 1, normJitter)
  }

  values(name: string, values: readonly number[]): void {
    const bytes = new Uint8Array(Uint32Array.from(values, floatBits).buffer)
    this.tensors.push({ name, dims: [values.length], type: f32, chunks: () => [bytes] })
  }

  #random(name: string, type: number, dims: readonly number[], mean: number, deviation: number): void {
    const weights = dims.reduce((product, dim) => product * dim, 1)
    const { seed } = this.#shape
    this.tensors.push({ name, dims, type, chunks: () => weightChunks({ type, weights, deviation, mean, seed, name }) })
  }
}
