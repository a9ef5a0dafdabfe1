import type { Architecture } from './architecture.js'
import { attention, denseFfn, ends, ffnNorm, qkNorms } from './patterns.js'

/** Qwen 3, dense: the head size is given, queries and keys are normed per head before rotation. */
export const qwen3: Architecture = {
  name: 'qwen3',
  rope: 'neox',
  ropeFactors: false,
  qkNorm: 'perHead',
  activation: 'silu',
  scales: false,
  tiedHead: true,
  tensors: [...ends, ...attention, ...qkNorms, ffnNorm, ...denseFfn],
}
