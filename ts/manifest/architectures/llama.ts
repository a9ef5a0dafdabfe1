import type { Architecture } from './architecture.js'
import { attention, attentionOutputBias, denseFfn, denseFfnBiases, ends, expertFfn, ffnNorm, qkvBiases } from './patterns.js'

/** Llama 1 to 3, Mistral, Mixtral (experts) and the many models written under their name. */
export const llama: Architecture = {
  name: 'llama',
  rope: 'norm',
  ropeFactors: true,
  qkNorm: 'none',
  activation: 'silu',
  experts: { need: 'optional', gating: 'softmax', normalised: true, width: 'feed-forward', shared: 'none' },
  scales: false,
  tiedHead: true,
  tensors: [
    ...ends, ...attention, ...qkvBiases('optional'), attentionOutputBias,
    ffnNorm, ...denseFfn, ...denseFfnBiases, ...expertFfn,
  ],
}
