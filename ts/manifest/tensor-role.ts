/**
 * What a tensor does, which shape that asks for, and where its bytes live.
 *
 * Names are those of TensorRole in native/model/model_spec.h; their numbers are in ts/native/layout.gen.ts. Tensor
 * *names* stop at the border: below it only roles are known.
 */
import type { ModelSpec } from './model-spec.js'

export type TensorRole =
  | 'tokenEmbedding' | 'outputNorm' | 'output' | 'outputBias'
  | 'attentionNorm' | 'query' | 'key' | 'value' | 'attentionOutput'
  | 'queryBias' | 'keyBias' | 'valueBias' | 'attentionOutputBias'
  | 'queryNorm' | 'keyNorm' | 'attentionPostNorm'
  | 'ffnNorm' | 'ffnGate' | 'ffnUp' | 'ffnDown' | 'ffnGateBias' | 'ffnUpBias' | 'ffnDownBias' | 'ffnPostNorm'
  | 'router' | 'routerSelectionBias' | 'expertGate' | 'expertUp' | 'expertDown' | 'expertGateUp'
  | 'sharedGate' | 'sharedUp' | 'sharedDown' | 'sharedRouter'

/**
 * Where a role's bytes live: `vector` and `router` in the trunk (a vector is F32), `bands` in the pinned stack or the
 * ring, `rows` in the row pool, `experts` in the expert pool.
 */
export type Residence = 'vector' | 'router' | 'bands' | 'rows' | 'experts'

/** A side of a shape, with the metadata key (less the architecture's prefix) that asks for it. */
interface Side {
  readonly size: number
  readonly key: string
}

interface RoleFacts {
  readonly residence: Residence
  /** As ggml writes it: length of a row, number of rows, experts. */
  readonly shape: (spec: ModelSpec) => readonly Side[]
}

const side = (key: string, size: number): Side => ({ key, size })
const embd = (spec: ModelSpec): Side => side('embedding_length', spec.nEmbd)
const vocab = (spec: ModelSpec): Side => side('vocab_size', spec.nVocab)
const queries = (spec: ModelSpec): Side => side('attention.head_count', spec.nHead * spec.headDimK)
const keys = (spec: ModelSpec): Side => side('attention.head_count_kv', spec.nHeadKv * spec.headDimK)
const values = (spec: ModelSpec): Side => side('attention.head_count_kv', spec.nHeadKv * spec.headDimV)
const heads = (spec: ModelSpec): Side => side('attention.head_count', spec.nHead * spec.headDimV)
const ff = (spec: ModelSpec): Side => side('feed_forward_length', spec.nFf)
const ffExpert = (spec: ModelSpec): Side => side('expert_feed_forward_length', spec.nFfExpert)
const ffShared = (spec: ModelSpec): Side => side('expert_shared_feed_forward_length', spec.nFfShared)
const experts = (spec: ModelSpec): Side => side('expert_count', spec.nExpert)
const normOf = (row: (spec: ModelSpec) => Side) => (spec: ModelSpec): readonly Side[] =>
  [spec.qkNorm === 'perHead' ? side('attention.key_length', spec.headDimK) : row(spec)]

const vector = (length: (spec: ModelSpec) => Side): RoleFacts => ({ residence: 'vector', shape: (spec) => [length(spec)] })
const matrix = (cols: (spec: ModelSpec) => Side, rows: (spec: ModelSpec) => Side): RoleFacts =>
  ({ residence: 'bands', shape: (spec) => [cols(spec), rows(spec)] })
const expert = (cols: (spec: ModelSpec) => Side, rows: (spec: ModelSpec) => Side): RoleFacts =>
  ({ residence: 'experts', shape: (spec) => [cols(spec), rows(spec), experts(spec)] })

/** Every role, in the order in which a sweep uses its bands. */
const roles: Readonly<Record<TensorRole, RoleFacts>> = {
  tokenEmbedding: { residence: 'rows', shape: (spec) => [embd(spec), vocab(spec)] },
  attentionNorm: vector(embd),
  query: matrix(embd, queries),
  queryBias: vector(queries),
  queryNorm: { residence: 'vector', shape: normOf(queries) },
  key: matrix(embd, keys),
  keyBias: vector(keys),
  keyNorm: { residence: 'vector', shape: normOf(keys) },
  value: matrix(embd, values),
  valueBias: vector(values),
  attentionOutput: matrix(heads, embd),
  attentionOutputBias: vector(embd),
  attentionPostNorm: vector(embd),
  ffnNorm: vector(embd),
  router: { residence: 'router', shape: (spec) => [embd(spec), experts(spec)] },
  routerSelectionBias: vector(experts),
  sharedRouter: { residence: 'router', shape: (spec) => [embd(spec)] },
  sharedGate: matrix(embd, ffShared),
  sharedUp: matrix(embd, ffShared),
  sharedDown: matrix(ffShared, embd),
  ffnGate: matrix(embd, ff),
  ffnGateBias: vector(ff),
  ffnUp: matrix(embd, ff),
  ffnUpBias: vector(ff),
  ffnDown: matrix(ff, embd),
  ffnDownBias: vector(embd),
  expertGateUp: expert(embd, (spec) => side('expert_feed_forward_length', 2 * spec.nFfExpert)),
  expertGate: expert(embd, ffExpert),
  expertUp: expert(embd, ffExpert),
  expertDown: expert(ffExpert, embd),
  ffnPostNorm: vector(embd),
  outputNorm: vector(embd),
  output: matrix(embd, vocab),
  outputBias: vector(vocab),
}

/** Every role, in the order in which a sweep uses them; experts' extents lie in a block in this order. */
export const roleOrder: readonly TensorRole[] = Object.keys(roles) as TensorRole[]

export const residenceOf = (role: TensorRole): Residence => roles[role].residence

/** The shape a role must have, as ggml writes it, and the metadata keys that ask for it. */
export function shapeOf(role: TensorRole, spec: ModelSpec): { dims: number[]; keys: string[] } {
  const sides = roles[role].shape(spec)
  return { dims: sides.map(({ size }) => size), keys: sides.map(({ key }) => key) }
}
