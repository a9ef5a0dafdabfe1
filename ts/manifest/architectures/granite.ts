import type { Architecture } from './architecture.js'
import {
  attention, attentionOutputBias, denseFfn, denseFfnBiases, ends, expertFfn, ffnNorm, qkvBiases, sharedFfn,
} from './patterns.js'

/** Granite 3, dense: Llama with scales on embedding, attention, residual and logits. */
export const granite: Architecture = {
  name: 'granite',
  rope: 'norm',
  ropeFactors: true,
  qkNorm: 'none',
  activation: 'silu',
  scales: true,
  tiedHead: true,
  tensors: [
    ...ends, ...attention, ...qkvBiases('optional'), attentionOutputBias,
    ffnNorm, ...denseFfn, ...denseFfnBiases,
  ],
}

/** Granite 3 with experts; some have a shared one, added as it is. */
export const granitemoe: Architecture = {
  ...granite,
  name: 'granitemoe',
  experts: { need: 'required', gating: 'softmax', normalised: true, width: 'feed-forward', shared: 'optional' },
  tensors: [
    ...ends, ...attention, ...qkvBiases('optional'), attentionOutputBias,
    ffnNorm, ...expertFfn, ...sharedFfn,
  ],
}
