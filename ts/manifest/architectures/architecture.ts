/**
 * What one model family is: a few flags and the names of its tensors. Plain data, read by read-spec.ts and tensors.ts.
 *
 * A family that needs more than these flags needs a layer kind in native/model first: see docs/adding/architecture.md.
 */
import type { Activation, Gating, QkNorm, RopeKind } from '../model-spec.js'
import type { TensorRole } from '../tensor-role.js'

/** One tensor of the model, or one of each layer it applies to. */
export interface TensorPattern {
  readonly role: TensorRole
  /** "blk.{layer}.attn_q.weight"; without "{layer}" a tensor of the whole model. */
  readonly name: string
  /** Experts in tensors of their own, as old files have them: "blk.{layer}.ffn_gate.{expert}.weight". */
  readonly perExpert?: string
  readonly need: 'required' | 'optional'
  /** Which layers have it; all when absent. */
  readonly layers?: 'dense' | 'mixture'
}

export interface ExpertFlags {
  /** 'optional': the same name also stands for dense models. */
  readonly need: 'required' | 'optional'
  readonly gating: Gating
  readonly normalised: boolean
  /** Where the width of an expert comes from when expert_feed_forward_length is missing. */
  readonly width: 'feed-forward' | 'feed-forward / used'
  /** Always there, when expert_shared_feed_forward_length says so, or never. */
  readonly shared: 'required' | 'optional' | 'none'
}

export interface Architecture {
  /** general.architecture */
  readonly name: string
  readonly rope: Exclude<RopeKind, 'none'>
  /** A file may carry one divisor per rotated pair (rope_freqs.weight). */
  readonly ropeFactors: boolean
  readonly qkNorm: QkNorm
  readonly activation: Activation
  readonly experts?: ExpertFlags
  /** Granite's four scales, and rope.scaling.finetuned = false for "no rotation". */
  readonly scales: boolean
  /** A file without output.weight uses the token embedding for both ends. */
  readonly tiedHead: boolean
  readonly tensors: readonly TensorPattern[]
}
