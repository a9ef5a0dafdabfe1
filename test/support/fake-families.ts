/** Complete fake models of every family, by shape: what a converter would write, with room for one mistake. */
import type { FakeModel, FakeTensor, FakeValue } from './fake-model.js'

export interface FamilyShape {
  readonly architecture: string
  readonly nLayer: number
  readonly nEmbd: number
  readonly nHead: number
  readonly nHeadKv: number
  /** Default nEmbd / nHead. */
  readonly headDim?: number
  readonly nFf: number
  readonly nVocab: number
  readonly nExpert?: number
  readonly nExpertUsed?: number
  readonly nFfExpert?: number
  readonly nFfShared?: number
  readonly type?: string
  /** Type of the down projections; default `type`. */
  readonly downType?: string
  readonly headType?: string
  readonly tied?: boolean
  readonly contextLength?: number
}

export const tinyDense: FamilyShape = { architecture: 'llama', nLayer: 2, nEmbd: 64, nHead: 4, nHeadKv: 2, nFf: 96, nVocab: 80 }
export const tinyMixture: FamilyShape = {
  architecture: 'qwen3moe', nLayer: 2, nEmbd: 64, nHead: 4, nHeadKv: 2, headDim: 32, nFf: 96, nVocab: 80,
  nExpert: 8, nExpertUsed: 2, nFfExpert: 32,
}

export function fakeFamily(shape: FamilyShape): FakeModel {
  const { architecture, nLayer, nEmbd, nHead, nHeadKv, nFf, nVocab, nExpert = 0, nFfShared = 0, type = 'F32' } = shape
  const headDim = shape.headDim ?? nEmbd / nHead
  const nFfExpert = shape.nFfExpert ?? nFf
  const downType = shape.downType ?? type
  const key = (suffix: string): string => `${architecture}.${suffix}`
  const metadata: Record<string, FakeValue> = {
    'general.architecture': architecture,
    [key('block_count')]: nLayer,
    [key('context_length')]: shape.contextLength ?? 4096,
    [key('embedding_length')]: nEmbd,
    [key('feed_forward_length')]: nFf,
    [key('attention.head_count')]: nHead,
    [key('attention.head_count_kv')]: nHeadKv,
    [key('attention.layer_norm_rms_epsilon')]: 1e-5,
    [key('rope.freq_base')]: 10_000,
  }
  if (shape.headDim !== undefined) Object.assign(metadata, { [key('attention.key_length')]: headDim, [key('attention.value_length')]: headDim })
  if (nExpert > 0) Object.assign(metadata, { [key('expert_count')]: nExpert, [key('expert_used_count')]: shape.nExpertUsed ?? 2 })
  if (shape.nFfExpert !== undefined) metadata[key('expert_feed_forward_length')] = nFfExpert
  if (nFfShared > 0) metadata[key('expert_shared_feed_forward_length')] = nFfShared
  if (architecture.startsWith('granite')) metadata[key('logit_scale')] = 8

  const tensors: FakeTensor[] = [{ name: 'token_embd.weight', dims: [nEmbd, nVocab], type }]
  const add = (name: string, dims: number[], of: string = type): void => void tensors.push({ name, dims, type: of })
  for (let i = 0; i < nLayer; i++) {
    const blk = (name: string): string => `blk.${i}.${name}`
    add(blk('attn_norm.weight'), [nEmbd], 'F32')
    add(blk('attn_q.weight'), [nEmbd, nHead * headDim])
    add(blk('attn_k.weight'), [nEmbd, nHeadKv * headDim])
    add(blk('attn_v.weight'), [nEmbd, nHeadKv * headDim])
    add(blk('attn_output.weight'), [nHead * headDim, nEmbd])
    if (architecture.startsWith('qwen2')) {
      add(blk('attn_q.bias'), [nHead * headDim], 'F32')
      add(blk('attn_k.bias'), [nHeadKv * headDim], 'F32')
      add(blk('attn_v.bias'), [nHeadKv * headDim], 'F32')
    }
    if (architecture.startsWith('qwen3') || architecture === 'olmoe') {
      const whole = architecture === 'olmoe'
      add(blk('attn_q_norm.weight'), [whole ? nHead * headDim : headDim], 'F32')
      add(blk('attn_k_norm.weight'), [whole ? nHeadKv * headDim : headDim], 'F32')
    }
    add(blk('ffn_norm.weight'), [nEmbd], 'F32')
    if (nExpert === 0) {
      add(blk('ffn_gate.weight'), [nEmbd, nFf])
      add(blk('ffn_up.weight'), [nEmbd, nFf])
      add(blk('ffn_down.weight'), [nFf, nEmbd], downType)
      continue
    }
    add(blk('ffn_gate_inp.weight'), [nEmbd, nExpert], 'F32')
    add(blk('ffn_gate_exps.weight'), [nEmbd, nFfExpert, nExpert])
    add(blk('ffn_up_exps.weight'), [nEmbd, nFfExpert, nExpert])
    add(blk('ffn_down_exps.weight'), [nFfExpert, nEmbd, nExpert], downType)
    if (nFfShared === 0) continue
    add(blk('ffn_gate_shexp.weight'), [nEmbd, nFfShared])
    add(blk('ffn_up_shexp.weight'), [nEmbd, nFfShared])
    add(blk('ffn_down_shexp.weight'), [nFfShared, nEmbd], downType)
    if (architecture === 'qwen2moe') add(blk('ffn_gate_inp_shexp.weight'), [nEmbd], 'F32')
  }
  add('output_norm.weight', [nEmbd], 'F32')
  if (shape.tied !== true) add('output.weight', [nEmbd, nVocab], shape.headType ?? type)
  return { metadata, tensors }
}

/** The same model with other metadata; undefined removes a key. */
export function withMetadata(model: FakeModel, changes: Readonly<Record<string, FakeValue | undefined>>): FakeModel {
  const entries = Object.entries({ ...model.metadata, ...changes }).filter((entry): entry is [string, FakeValue] => entry[1] !== undefined)
  return { ...model, metadata: Object.fromEntries(entries) }
}

/** The same model with one tensor replaced, removed (null) or added. */
export function withTensor(model: FakeModel, name: string, change: Partial<FakeTensor> | null): FakeModel {
  if (change === null) return { ...model, tensors: model.tensors.filter((tensor) => tensor.name !== name) }
  if (!model.tensors.some((tensor) => tensor.name === name)) return { ...model, tensors: [...model.tensors, { dims: [1], ...change, name }] }
  return { ...model, tensors: model.tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor)) }
}
