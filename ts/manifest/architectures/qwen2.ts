import type { Architecture } from './architecture.js'
import { attention, denseFfn, ends, ffnNorm, outputBias, qkvBiases } from './patterns.js'

/** Qwen 2 and 2.5, and distillations into them. */
export const qwen2: Architecture = {
  name: 'qwen2',
  rope: 'neox',
  ropeFactors: false,
  qkNorm: 'none',
  activation: 'silu',
  scales: false,
  tiedHead: true,
  tensors: [...ends, outputBias, ...attention, ...qkvBiases('required'), ffnNorm, ...denseFfn],
}
