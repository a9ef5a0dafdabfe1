import type { Architecture } from './architecture.js'
import { attention, ends, expertFfn, ffnNorm, qkNorms } from './patterns.js'

/** OLMoE: queries and keys are normed over the whole row of heads; weights of chosen experts are left as they are. */
export const olmoe: Architecture = {
  name: 'olmoe',
  rope: 'neox',
  ropeFactors: false,
  qkNorm: 'wholeRow',
  activation: 'silu',
  experts: { need: 'required', gating: 'softmax', normalised: false, width: 'feed-forward', shared: 'none' },
  scales: false,
  tiedHead: false,
  tensors: [...ends, ...attention, ...qkNorms, ffnNorm, ...expertFfn],
}
