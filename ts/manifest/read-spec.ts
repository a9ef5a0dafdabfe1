/**
 * From a file's metadata to a ModelSpec: every hyper-parameter checked, everything unknown that would change an answer refused.
 *
 * Sizes are proved once more by tensors.ts, where each tensor must have the shape that follows from them.
 */
import type { GgufModel } from '../gguf/types.js'
import type { Architecture } from './architectures/architecture.js'
import { refuseUnknownSettings } from './refused-settings.js'
import { hyperParameters, widthMax, type HyperParameters } from './hyper-parameters.js'
import { badValue, modelError, unsupportedValue } from './model-error.js'
import type { Gating, ModelSpec } from './model-spec.js'
import { inverseFrequencies, readFactors, readScaling, ropeMagnitude } from './rope.js'

const layersMax = 4096
const expertsMax = 65535
const headsMax = 65536
/** kContextMax of native/runtime/load_checks.h. */
const contextMax = 2 ** 30

/** expert_gating_func, as stored on disk. */
const gatingFunctions: ReadonlyMap<number, Gating> = new Map([[1, 'softmax'], [2, 'sigmoid'], [3, 'softmaxAfterTopK']])

/**
 * Reads and checks the hyper-parameters of a model.
 * Errors: CORRUPT_GGUF with the key (rules P1 to P9), UNSUPPORTED_MODEL for settings that this version does not compute.
 */
export async function readModelSpec(model: GgufModel, architecture: Architecture): Promise<ModelSpec> {
  const keys = hyperParameters(model, architecture.name)
  const nLayer = keys.integer('block_count', 'P1', { max: layersMax })
  const contextLength = keys.integer('context_length', 'P6', { max: contextMax })
  refuseUnknownSettings(keys, architecture)
  const nEmbd = keys.integer('embedding_length', 'P3', {})
  const heads = readHeads(keys, nLayer, nEmbd)
  const widths = readWidths(keys, architecture, nLayer)
  const nVocab = readVocabularySize(keys, nEmbd)
  return {
    nLayer,
    nEmbd,
    ...heads,
    ...widths,
    nVocab,
    ...(await readRope(keys, architecture, heads.headDimK, contextLength)),
    qkNorm: architecture.qkNorm,
    activation: architecture.activation,
    ...readGating(keys, architecture),
    normEpsilon: keys.float('attention.layer_norm_rms_epsilon', 'P8', { above: 0 }),
    ...readScales(keys, architecture, heads.headDimK),
    contextTrain: readContext(keys, contextLength),
  }
}

type Heads = Pick<ModelSpec, 'nHead' | 'nHeadKv' | 'headDimK' | 'headDimV'>

function readHeads(keys: HyperParameters, nLayer: number, nEmbd: number): Heads {
  const nHead = keys.perLayer('attention.head_count', 'P2', nLayer, { max: headsMax })
  const nHeadKv = keys.perLayer('attention.head_count_kv', 'P2', nLayer, { fallback: nHead })
  if (nHeadKv > nHead || nHead % nHeadKv !== 0) {
    throw badValue(keys.model, 'P2', keys.key('attention.head_count_kv'), nHeadKv, `a divisor of attention.head_count (${nHead})`)
  }
  const given = keys.has('attention.key_length') && keys.has('attention.value_length')
  if (!given && nEmbd % nHead !== 0) {
    throw badValue(keys.model, 'P2', keys.key('attention.head_count'), nHead, `a divisor of embedding_length (${nEmbd})`)
  }
  const headDimK = keys.integer('attention.key_length', 'P2', { fallback: nEmbd / nHead })
  const headDimV = keys.integer('attention.value_length', 'P2', { fallback: nEmbd / nHead })
  if (nHead * Math.max(headDimK, headDimV) > widthMax) {
    throw badValue(keys.model, 'P2', keys.key('attention.head_count'), nHead, `at most ${widthMax} together with the head size`)
  }
  return { nHead, nHeadKv, headDimK, headDimV }
}

type Widths = Pick<ModelSpec, 'nFf' | 'nExpert' | 'nExpertUsed' | 'nFfExpert' | 'nFfShared' | 'nLayerDenseLead'>

function readWidths(keys: HyperParameters, architecture: Architecture, nLayer: number): Widths {
  const { experts } = architecture
  const nExpert = keys.integer('expert_count', 'P5', { min: 0, max: expertsMax, fallback: 0 })
  refuseOrphanExperts(keys, nExpert)
  if (nExpert > 0 && experts === undefined) {
    throw unsupportedValue(keys.model, 'P5', keys.key('expert_count'), nExpert, `0 for ${architecture.name}`)
  }
  if (nExpert === 0 || experts === undefined) {
    if (experts?.need === 'required') {
      const found = keys.has('expert_count') ? 0 : undefined
      throw badValue(keys.model, 'P5', keys.key('expert_count'), found, `an integer from 1 to ${expertsMax}`)
    }
    const nFf = keys.perLayer('feed_forward_length', 'P4', nLayer, {})
    return { nFf, nExpert: 0, nExpertUsed: 0, nFfExpert: 0, nFfShared: 0, nLayerDenseLead: 0 }
  }
  const nExpertUsed = keys.integer('expert_used_count', 'P5', { max: nExpert })
  const ownWidth = keys.has('expert_feed_forward_length')
  const nFf = ownWidth ? 0 : keys.perLayer('feed_forward_length', 'P4', nLayer, {})
  const derived = experts.width === 'feed-forward' ? nFf : Math.floor(nFf / nExpertUsed)
  const nFfExpert = ownWidth ? keys.perLayer('expert_feed_forward_length', 'P4', nLayer, {}) : derived
  const nFfShared = readSharedWidth(keys, experts.shared, nLayer)
  return { nFf: 0, nExpert, nExpertUsed, nFfExpert, nFfShared, nLayerDenseLead: 0 }
}

function readSharedWidth(keys: HyperParameters, shared: 'required' | 'optional' | 'none', nLayer: number): number {
  const suffix = 'expert_shared_feed_forward_length'
  const found = keys.integer(suffix, 'P4', { min: 0, fallback: 0 })
  if (shared === 'none' && found > 0) {
    throw unsupportedValue(keys.model, 'P4', keys.key(suffix), found, 'models without a shared expert under this name')
  }
  return found === 0 && shared === 'required' ? keys.perLayer('feed_forward_length', 'P4', nLayer, {}) : found
}

/** Expert tensors in a file that declares no experts: reading on would take them for unknown extras. */
function refuseOrphanExperts(keys: HyperParameters, nExpert: number): void {
  if (nExpert > 0) return
  for (const name of keys.model.tensors.keys()) {
    if (/^blk\.\d+\.ffn_\w+_exps\.weight$|^blk\.\d+\.ffn_(?:gate|up|down)\.\d+\.weight$/.test(name)) {
      const found = keys.has('expert_count') ? 0 : undefined
      throw badValue(keys.model, 'P5', keys.key('expert_count'), found, `the number of experts in tensors such as ${name}`)
    }
  }
}

function readVocabularySize(keys: HyperParameters, nEmbd: number): number {
  const { model } = keys
  const embedding = model.tensors.get('token_embd.weight')
  if (embedding === undefined) {
    throw modelError(
      model, 'ERR_HYPURA_CORRUPT_GGUF',
      'the tensor token_embd.weight is missing: this file holds no model that can be run.',
      { rule: 'S14', tensor: 'token_embd.weight' },
    )
  }
  const [cols, rows = 1, ...rest] = embedding.dims
  if (cols !== nEmbd || rest.some((dim) => dim !== 1)) {
    const allowed = `the row length of token_embd.weight (${embedding.dims.join(' x ')})`
    throw badValue(model, 'P3', keys.key('embedding_length'), nEmbd, allowed)
  }
  if (rows === 0 || rows > widthMax) {
    throw badValue(model, 'P9', 'token_embd.weight', `a table of ${rows} rows`, `a table of 1 to ${widthMax} rows`)
  }
  const declared = keys.integer('vocab_size', 'P9', { fallback: rows })
  if (declared !== rows) {
    throw badValue(model, 'P9', keys.key('vocab_size'), declared, `the number of rows of token_embd.weight (${rows})`)
  }
  const tokens = model.metadata.arrayInfo('tokenizer.ggml.tokens')
  if (tokens !== undefined && tokens.length !== rows) {
    const allowed = `as long as token_embd.weight has rows (${rows})`
    throw badValue(model, 'P9', 'tokenizer.ggml.tokens', `a list of ${tokens.length}`, allowed)
  }
  return rows
}

type Rope = Pick<ModelSpec, 'rope' | 'nRot' | 'invFreq' | 'ropeMagnitude'>

async function readRope(
  keys: HyperParameters, architecture: Architecture, headDimK: number, contextLength: number,
): Promise<Rope> {
  if (architecture.scales && !keys.boolean('rope.scaling.finetuned', true)) {
    return { rope: 'none', nRot: 0, invFreq: new Float64Array(0), ropeMagnitude: 1 }
  }
  const nRot = keys.integer('rope.dimension_count', 'P7', { fallback: headDimK })
  if (nRot % 2 !== 0 || nRot > headDimK) {
    throw badValue(keys.model, 'P7', keys.key('rope.dimension_count'), nRot, `even and at most the head size (${headDimK})`)
  }
  const base = keys.float('rope.freq_base', 'P7', { above: 1, fallback: 10_000 })
  const scaling = readScaling(keys, contextLength)
  const factors = architecture.ropeFactors ? await readFactors(keys.model, nRot) : undefined
  return {
    rope: architecture.rope,
    nRot,
    invFreq: inverseFrequencies(nRot, base, scaling, factors),
    ropeMagnitude: ropeMagnitude(scaling),
  }
}

type Choice = Pick<ModelSpec, 'gating' | 'gatingNormalised' | 'expertWeightsScale'>

function readGating(keys: HyperParameters, { experts }: Architecture): Choice {
  if (experts === undefined) return { gating: 'softmax', gatingNormalised: false, expertWeightsScale: 1 }
  // 0 stands for "not set" in files that carry the key for every family.
  const number = keys.integer('expert_gating_func', 'P5', { min: 0, fallback: 0 })
  const gating = number === 0 ? experts.gating : gatingFunctions.get(number)
  if (gating === undefined) {
    throw unsupportedValue(keys.model, 'P5', keys.key('expert_gating_func'), number, [...gatingFunctions.keys()].join(', '))
  }
  return {
    gating,
    gatingNormalised: keys.boolean('expert_weights_norm', experts.normalised),
    expertWeightsScale: readScale(keys, 'expert_weights_scale'),
  }
}

type Scales = Pick<ModelSpec, 'attentionScale' | 'embeddingScale' | 'residualScale' | 'logitScale'>

function readScales(keys: HyperParameters, { scales }: Architecture, headDimK: number): Scales {
  const given = keys.float('attention.scale', 'P2', { above: -Number.MIN_VALUE, fallback: 0 })
  const attentionScale = given || 1 / Math.sqrt(headDimK)
  if (!scales) return { attentionScale, embeddingScale: 1, residualScale: 1, logitScale: 1 }
  return {
    attentionScale,
    embeddingScale: readScale(keys, 'embedding_scale'),
    residualScale: readScale(keys, 'residual_scale'),
    // Stored as a divisor; the decoder multiplies.
    logitScale: 1 / keys.float('logit_scale', 'P3', { above: 0 }),
  }
}

/** A scale that files write as 0 for "none". */
const readScale = (keys: HyperParameters, suffix: string): number =>
  keys.float(suffix, 'P3', { above: -Number.MIN_VALUE, fallback: 1 }) || 1

/** Within a sliding window full attention is exact, and beyond it wrong: the window bounds the context. */
function readContext(keys: HyperParameters, contextLength: number): number {
  const window = keys.integer('attention.sliding_window', 'P6', { min: 0, max: contextMax, fallback: 0 })
  return window > 0 ? Math.min(window, contextLength) : contextLength
}
