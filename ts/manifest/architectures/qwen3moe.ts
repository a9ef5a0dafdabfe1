import type { Architecture } from './architecture.js'
import { attention, ends, expertFfn, ffnNorm, qkNorms } from './patterns.js'

/** Qwen3-30B-A3B, 235B-A22B, Coder: Qwen 3's attention, routed experts in every layer, no shared one. */
export const qwen3moe: Architecture = {
  name: 'qwen3moe',
  rope: 'neox',
  ropeFactors: false,
  qkNorm: 'perHead',
  activation: 'silu',
  experts: { need: 'required', gating: 'softmax', normalised: true, width: 'feed-forward / used', shared: 'none' },
  scales: false,
  tiedHead: true,
  tensors: [...ends, ...attention, ...qkNorms, ffnNorm, ...expertFfn],
}
