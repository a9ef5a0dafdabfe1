/**
 * Shape and flags of one model, as the decoder needs them: no tensor names, no metadata, only numbers.
 *
 * The twin of ModelSpec in native/model/model_spec.h, field by field, with choices by name; ts/engine/codec writes it as
 * one record of the Load message. Families differ by these flags only. Built by read-spec.ts, never changed afterwards.
 */

/** Neighbouring pairs ('norm') or halves ('neox') of a head are rotated together. */
export type RopeKind = 'none' | 'norm' | 'neox'
/** RMS norm of queries and keys before they are rotated: of each head, or of the row of all heads. */
export type QkNorm = 'none' | 'perHead' | 'wholeRow'
export type Activation = 'silu' | 'geluTanh'
export type Gating = 'softmax' | 'sigmoid' | 'softmaxAfterTopK'

export interface ModelSpec {
  readonly nLayer: number
  readonly nEmbd: number
  readonly nHead: number
  readonly nHeadKv: number
  readonly headDimK: number
  readonly headDimV: number
  /** 0 when no layer is dense. */
  readonly nFf: number
  readonly nVocab: number
  /** 0: dense. */
  readonly nExpert: number
  readonly nExpertUsed: number
  readonly nFfExpert: number
  /** 0: no shared expert. */
  readonly nFfShared: number
  /** Layers before the first mixture layer. */
  readonly nLayerDenseLead: number
  /** Rotated elements per head, even; twice the length of invFreq. */
  readonly nRot: number
  readonly rope: RopeKind
  readonly qkNorm: QkNorm
  readonly activation: Activation
  readonly gating: Gating
  /** The chosen experts' weights are divided by their sum. */
  readonly gatingNormalised: boolean
  readonly normEpsilon: number
  /** Usually 1 / sqrt(headDimK). */
  readonly attentionScale: number
  /** Cosines and sines are multiplied by it (YaRN); 1 otherwise. */
  readonly ropeMagnitude: number
  readonly expertWeightsScale: number
  readonly embeddingScale: number
  /** Applied to each block's result before it is added. */
  readonly residualScale: number
  /** Logits are multiplied by it. */
  readonly logitScale: number
  /** Radians per position of each rotated pair, scaling and factors included; nRot / 2 of them. */
  readonly invFreq: Float64Array
  /** Positions the model is good for: the trained context, or a sliding window if that is shorter. */
  readonly contextTrain: number
}

/** Is this layer's feed-forward block a mixture of experts? */
export function isMixtureLayer(spec: ModelSpec, layer: number): boolean {
  return spec.nExpert > 0 && layer >= spec.nLayerDenseLead
}
