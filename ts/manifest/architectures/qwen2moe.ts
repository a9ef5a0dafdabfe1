import type { Architecture } from './architecture.js'
import { attention, ends, expertFfn, ffnNorm, qkvBiases, sharedFfn, sharedRouter } from './patterns.js'

/** Qwen1.5-MoE and Qwen2-57B-A14B: routed experts, and a shared one behind a sigmoid. */
export const qwen2moe: Architecture = {
  name: 'qwen2moe',
  rope: 'neox',
  ropeFactors: false,
  qkNorm: 'none',
  activation: 'silu',
  experts: { need: 'required', gating: 'softmax', normalised: false, width: 'feed-forward / used', shared: 'required' },
  scales: false,
  tiedHead: false,
  tensors: [
    ...ends, ...attention, ...qkvBiases('required'),
    ffnNorm, ...expertFfn, ...sharedFfn, sharedRouter,
  ],
}
