/**
 * Which of GGUF's tensor types have kernels. The others are known by size (ts/gguf/quant-types.ts), so that a file can be
 * inspected, but not computed with.
 *
 * Ids are ggml's, as stored on disk, and those of native/kernels/quant_types.h.
 */
import { quantTypes } from '../gguf/quant-types.js'

const supportedNames: ReadonlySet<string> = new Set([
  'F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K',
  'IQ4_NL', 'IQ4_XS', 'MXFP4',
])

export interface KernelType {
  readonly id: number
  readonly name: string
  readonly blockWeights: number
  readonly blockBytes: number
}

/** Types that the kernels compute with, by id. */
export const kernelTypes: ReadonlyMap<number, KernelType> = new Map(
  [...quantTypes].filter(([, { name }]) => supportedNames.has(name)).map(([id, type]) => [id, { id, ...type }]),
)

export const typeF32 = 0

/** Bytes of a row of `cols` weights; `cols` is a multiple of the type's block. */
export const rowBytes = (type: KernelType, cols: number): number => (cols / type.blockWeights) * type.blockBytes
