/** Tensor patterns that families share, by GGUF's standard names. */
import type { TensorRole } from '../tensor-role.js'
import type { TensorPattern } from './architecture.js'

type Need = TensorPattern['need']
type Where = Pick<TensorPattern, 'layers'>

const perLayer = (role: TensorRole, name: string, need: Need = 'required', where: Where = {}): TensorPattern =>
  ({ role, name: `blk.{layer}.${name}`, need, ...where })

/** Token embedding, last norm and head; whether the head may be missing is the family's tiedHead. */
export const ends: readonly TensorPattern[] = [
  { role: 'tokenEmbedding', name: 'token_embd.weight', need: 'required' },
  { role: 'outputNorm', name: 'output_norm.weight', need: 'required' },
  { role: 'output', name: 'output.weight', need: 'optional' },
]

export const outputBias: TensorPattern = { role: 'outputBias', name: 'output.bias', need: 'optional' }

/** Norm, queries, keys, values, output. */
export const attention: readonly TensorPattern[] = [
  perLayer('attentionNorm', 'attn_norm.weight'),
  perLayer('query', 'attn_q.weight'),
  perLayer('key', 'attn_k.weight'),
  perLayer('value', 'attn_v.weight'),
  perLayer('attentionOutput', 'attn_output.weight'),
]

export const qkvBiases = (need: Need): readonly TensorPattern[] => [
  perLayer('queryBias', 'attn_q.bias', need),
  perLayer('keyBias', 'attn_k.bias', need),
  perLayer('valueBias', 'attn_v.bias', need),
]

export const attentionOutputBias: TensorPattern = perLayer('attentionOutputBias', 'attn_output.bias', 'optional')

export const qkNorms: readonly TensorPattern[] = [
  perLayer('queryNorm', 'attn_q_norm.weight'),
  perLayer('keyNorm', 'attn_k_norm.weight'),
]

export const ffnNorm: TensorPattern = perLayer('ffnNorm', 'ffn_norm.weight')

export const denseFfn: readonly TensorPattern[] = [
  perLayer('ffnGate', 'ffn_gate.weight', 'required', { layers: 'dense' }),
  perLayer('ffnUp', 'ffn_up.weight', 'required', { layers: 'dense' }),
  perLayer('ffnDown', 'ffn_down.weight', 'required', { layers: 'dense' }),
]

export const denseFfnBiases: readonly TensorPattern[] = [
  perLayer('ffnGateBias', 'ffn_gate.bias', 'optional', { layers: 'dense' }),
  perLayer('ffnUpBias', 'ffn_up.bias', 'optional', { layers: 'dense' }),
  perLayer('ffnDownBias', 'ffn_down.bias', 'optional', { layers: 'dense' }),
]

const expertsOf = (role: TensorRole, name: string): TensorPattern => ({
  ...perLayer(role, `ffn_${name}_exps.weight`, 'required', { layers: 'mixture' }),
  perExpert: `blk.{layer}.ffn_${name}.{expert}.weight`,
})

/**
 * Router and routed experts, stacked in three tensors or one tensor per expert. Some files hold gate and up in one tensor
 * (gate rows first): it takes the place of both.
 */
export const expertFfn: readonly TensorPattern[] = [
  perLayer('router', 'ffn_gate_inp.weight', 'required', { layers: 'mixture' }),
  perLayer('expertGateUp', 'ffn_gate_up_exps.weight', 'optional', { layers: 'mixture' }),
  expertsOf('expertGate', 'gate'),
  expertsOf('expertUp', 'up'),
  expertsOf('expertDown', 'down'),
]

/** The expert that every token takes; required where the model has one (nFfShared > 0). */
export const sharedFfn: readonly TensorPattern[] = [
  perLayer('sharedGate', 'ffn_gate_shexp.weight', 'required', { layers: 'mixture' }),
  perLayer('sharedUp', 'ffn_up_shexp.weight', 'required', { layers: 'mixture' }),
  perLayer('sharedDown', 'ffn_down_shexp.weight', 'required', { layers: 'mixture' }),
]

/** Its weight: the sigmoid of one product. */
export const sharedRouter: TensorPattern = perLayer(
  'sharedRouter', 'ffn_gate_inp_shexp.weight', 'required', { layers: 'mixture' },
)
