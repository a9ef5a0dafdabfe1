/**
 * Settings that change a model's arithmetic and that no family here computes: refused by name unless they are neutral.
 *
 * Unknown keys are ignored (files carry many); these are the known ones that must not be.
 */
import type { Architecture } from './architectures/architecture.js'
import type { HyperParameters } from './hyper-parameters.js'
import { modelError, unsupportedValue, type Rule } from './model-error.js'

type Setting = readonly [suffix: string, rule: Rule, allowed: string, neutral: (value: number) => boolean]

const atMost = (limit: number) => (value: number): boolean => value <= limit

const settings: readonly Setting[] = [
  ['attention.clamp_kqv', 'P2', 'no clamp', atMost(0)],
  ['attention.max_alibi_bias', 'P2', 'no ALiBi', atMost(0)],
  ['attention.key_length_mla', 'P2', 'plain attention', atMost(0)],
  ['attention.temperature_length', 'P2', 'no temperature', atMost(0)],
  ['attention.temperature_scale', 'P2', 'no temperature', atMost(0)],
  ['attn_logit_softcapping', 'P2', 'no soft cap', atMost(0)],
  ['final_logit_softcapping', 'P3', 'no soft cap', atMost(0)],
  ['expert_group_count', 'P5', 'one group', atMost(1)],
  ['leading_dense_block_count', 'P5', 'experts in every layer', atMost(0)],
  ['interleave_moe_layer_step', 'P5', 'experts in every layer', atMost(1)],
  ['moe_every_n_layers', 'P5', 'experts in every layer', atMost(1)],
  ['nextn_predict_layers', 'P1', 'no prediction layers', atMost(0)],
  ['rope.scaling.yarn_log_multiplier', 'P7', 'the plain magnitude', (value) => value === 0],
]

/** Scales of Granite: a family without them would have to guess which way they work. */
const graniteScales: readonly Setting[] = ['embedding_scale', 'residual_scale', 'logit_scale'].map(
  (suffix): Setting => [suffix, 'P3', 'no scale for this family', (value) => value === 0 || value === 1],
)

const switches: readonly (readonly [suffix: string, neutral: boolean, allowed: string])[] = [
  ['use_parallel_residual', false, 'attention, then feed-forward'],
  ['attention.causal', true, 'causal attention'],
]

/** Error: UNSUPPORTED_MODEL naming the key, or the kind of file that holds no model at all. */
export function refuseUnknownSettings(keys: HyperParameters, architecture: Architecture): void {
  const { model } = keys
  const kind = model.metadata.string('general.type') ?? 'model'
  if (kind !== 'model') {
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_MODEL', `this file is of the kind "${kind}", not a model that can be run alone.`,
      { field: 'general.type', found: kind, allowed: 'model', offset: model.metadata.offsetOf('general.type') },
    )
  }
  for (const [suffix, rule, allowed, neutral] of architecture.scales ? settings : [...settings, ...graniteScales]) {
    const key = keys.key(suffix)
    if (model.metadata.typeOf(key) === 'array') throw unsupportedValue(model, rule, key, 'a list', allowed)
    const value = model.metadata.float(key)
    if (value !== undefined && !neutral(value)) throw unsupportedValue(model, rule, key, value, allowed)
  }
  for (const [suffix, neutral, allowed] of switches) {
    if (keys.boolean(suffix, neutral) !== neutral) throw unsupportedValue(model, 'P2', keys.key(suffix), !neutral, allowed)
  }
}
