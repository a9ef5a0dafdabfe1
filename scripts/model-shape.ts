/**
 * Shapes of generated models: options, presets and checks, before a byte is written.
 */
import { HypuraError, nearest } from '../ts/base/errors.js'
import { quantTypes } from '../ts/gguf/quant-types.js'

export const architectures = ['llama', 'mixtral', 'qwen2', 'qwen3', 'qwen3moe', 'olmoe'] as const
export type Architecture = (typeof architectures)[number]

export const ropeScalings = ['none', 'linear', 'yarn', 'llama3'] as const
export type RopeScaling = (typeof ropeScalings)[number]

export const quants = [
  'f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'mxfp4',
  'q3_k_m', 'q4_k_m', 'q5_k_m',
] as const
export type Quant = (typeof quants)[number]

export interface ModelShape {
  /** `mixtral` is written as `llama` with experts, as converters do. */
  readonly arch: Architecture
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Length of the dense feed-forward layer; unused by mixtures. */
  readonly ff: number
  /** 0 for dense models. */
  readonly experts: number
  readonly expertsUsed: number
  readonly expertFf: number
  readonly vocab: number
  readonly context: number
  readonly ropeBase: number
  readonly ropeScaling: RopeScaling
  readonly ropeFactor: number
  /** Context before scaling, for yarn and llama3. */
  readonly ropeOriginalContext: number
  /** The output head shares the token embedding's bytes. */
  readonly tied: boolean
  readonly quant: Quant
  readonly seed: number
  readonly name: string
}

const tinyDense: ModelShape = {
  arch: 'llama', layers: 2, width: 64, heads: 4, kvHeads: 2, headDim: 16, ff: 128, experts: 0, expertsUsed: 0, expertFf: 0,
  vocab: 512, context: 1024, ropeBase: 10_000, ropeScaling: 'none', ropeFactor: 8, ropeOriginalContext: 512,
  tied: false, quant: 'q8_0', seed: 1, name: 'generated tiny-dense',
}
const tinyMoe: ModelShape = { ...tinyDense, arch: 'qwen3moe', experts: 8, expertsUsed: 2, expertFf: 64, name: 'generated tiny-moe' }

export type Preset = 'tiny-dense' | 'tiny-moe' | '1b' | '7b' | 'moe-7b'
export const presets: Readonly<Record<Preset, ModelShape>> = {
  'tiny-dense': tinyDense,
  'tiny-moe': tinyMoe,
  '1b': {
    ...tinyDense, layers: 22, width: 2048, heads: 32, kvHeads: 4, headDim: 64, ff: 5632, vocab: 32_000, context: 4096,
    ropeOriginalContext: 2048, quant: 'q4_k_m', name: 'generated 1b',
  },
  '7b': {
    ...tinyDense, layers: 32, width: 4096, heads: 32, kvHeads: 8, headDim: 128, ff: 14_336, vocab: 32_000, context: 8192,
    ropeOriginalContext: 4096, quant: 'q4_k_m', name: 'generated 7b',
  },
  'moe-7b': {
    ...tinyMoe, layers: 12, width: 2048, heads: 32, kvHeads: 4, headDim: 128, ff: 6144, experts: 128, expertsUsed: 8, expertFf: 768,
    vocab: 32_000, context: 8192, ropeBase: 1_000_000, ropeOriginalContext: 4096, quant: 'q4_k_m', name: 'generated moe-7b',
  },
}

const mixtures: ReadonlySet<Architecture> = new Set(['mixtral', 'qwen3moe', 'olmoe'])

/**
 * The preset (a tiny one by default) with the given values in place of its own.
 *
 * What follows from a given value is derived: heads decide kvHeads unless given, width and heads decide headDim.
 * @throws ERR_HYPURA_USAGE with the option's name
 */
export function resolveShape(given: Partial<ModelShape>, preset?: Preset): ModelShape {
  const arch = oneOf('arch', given.arch ?? (preset === undefined ? 'llama' : presets[preset].arch), architectures)
  const mixture = mixtures.has(arch) || (given.experts ?? 0) > 0
  const base: ModelShape = preset === undefined ? (mixture ? tinyMoe : tinyDense) : presets[preset]
  const heads = given.heads ?? base.heads
  const width = given.width ?? base.width
  const shapeChanged = heads !== base.heads || width !== base.width
  const shape: ModelShape = {
    ...base,
    kvHeads: heads === base.heads && arch !== 'olmoe' ? base.kvHeads : heads,
    headDim: shapeChanged ? width / heads : base.headDim,
    ...given,
    arch,
    ...(mixture ? {} : { experts: 0, expertsUsed: 0, expertFf: 0 }),
  }
  return check(mixture && shape.experts === 0 ? { ...shape, experts: tinyMoe.experts, expertsUsed: tinyMoe.expertsUsed, expertFf: given.expertFf ?? shape.ff } : shape)
}

function check(shape: ModelShape): ModelShape {
  whole('layers', shape.layers, 1, 4096)
  whole('width', shape.width, 2, 1 << 20)
  whole('heads', shape.heads, 1, 65_536)
  whole('kv-heads', shape.kvHeads, 1, shape.heads)
  whole('head-dim', shape.headDim, 2, 1024)
  whole('vocab', shape.vocab, 257, 1 << 20)
  whole('context', shape.context, 1, 0x7fffffff)
  whole('seed', shape.seed, 0, Number.MAX_SAFE_INTEGER)
  whole('rope-original-context', shape.ropeOriginalContext, 1, 0x7fffffff)
  if (shape.headDim % 2 !== 0) throw usage('head-dim', `${shape.headDim} is odd; RoPE turns pairs`)
  if (shape.heads % shape.kvHeads !== 0) throw usage('kv-heads', `${shape.heads} heads cannot share ${shape.kvHeads}`)
  if (shape.arch === 'olmoe' && (shape.kvHeads !== shape.heads || shape.heads * shape.headDim !== shape.width)) {
    throw usage('arch', 'olmoe normalises whole rows of queries and keys, so heads x head-dim must be the width and kv-heads equal heads')
  }
  if (!(shape.ropeBase > 0) || !(shape.ropeFactor > 0)) throw usage('rope-base', 'base and factor must be above 0')
  oneOf('quant', shape.quant, quants)
  oneOf('rope-scaling', shape.ropeScaling, ropeScalings)
  if (shape.experts === 0) {
    whole('ff', shape.ff, 1, 1 << 24)
    return shape
  }
  if (shape.arch === 'qwen2' || shape.arch === 'qwen3') throw usage('experts', `${shape.arch} is dense; use qwen3moe`)
  whole('experts', shape.experts, 1, 65_535)
  whole('experts-used', shape.expertsUsed, 1, shape.experts)
  whole('expert-ff', shape.expertFf, 1, 1 << 24)
  return shape
}

function whole(option: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) throw usage(option, `${value} is not a whole number from ${low} to ${high}`)
}

function oneOf<T extends string>(option: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value
  const near = nearest(value, known)
  throw usage(option, `${value} is not one of ${known.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`)
}

function usage(option: string, problem: string): HypuraError {
  return new HypuraError('ERR_HYPURA_USAGE', `--${option}: ${problem}.`, { field: option })
}

// ---- quantisation

const idOfName: ReadonlyMap<string, number> = new Map([...quantTypes].map(([id, { name }]) => [name.toLowerCase(), id]))

/** What a tensor is for, as far as mixes care. */
export type WeightKind = 'embedding' | 'head' | 'value' | 'down' | 'attention-output' | 'other'

/**
 * ggml type id of a 2-D weight. Blocks of 256 need rows that are multiples of 256; other rows fall back to the type of 32
 * weights with the next number of bits, and rows that are no multiple of 32 to F16.
 * @see llama-quant.cpp of llama.cpp: the known mixes and fall-backs
 */
export function weightType(shape: ModelShape, kind: WeightKind, layer: number, rowLength: number): number {
  const wanted = idOfName.get(mix(shape, kind, layer))!
  const fits = (type: number): boolean => rowLength % quantTypes.get(type)!.blockWeights === 0
  if (fits(wanted)) return wanted
  const fallback = idOfName.get(fallbacks[quantTypes.get(wanted)!.name.toLowerCase()] ?? 'f16')!
  return fits(fallback) ? fallback : idOfName.get('f16')!
}

const fallbacks: Readonly<Record<string, string>> = { q2_k: 'q4_0', q3_k: 'q4_0', q4_k: 'q5_0', q5_k: 'q5_1', q6_k: 'q8_0', iq4_xs: 'iq4_nl' }

function mix({ quant, layers, tied }: ModelShape, kind: WeightKind, layer: number): string {
  if (!quant.endsWith('_m')) return quant
  const base = quant.slice(0, -2)
  if (kind === 'head' || (kind === 'embedding' && tied)) return 'q6_k'
  const more = layer < layers / 8 || layer >= (7 * layers) / 8 || (layer - Math.floor(layers / 8)) % 3 === 2
  if (quant === 'q3_k_m') {
    if (kind === 'value') return layer < 2 ? 'q5_k' : 'q4_k'
    if (kind === 'down') return layer < layers / 16 ? 'q5_k' : more ? 'q4_k' : 'q3_k'
    return kind === 'attention-output' ? 'q4_k' : base
  }
  return (kind === 'value' || kind === 'down') && more ? 'q6_k' : base
}

/** llama.cpp's number for general.file_type. */
export const fileTypes: Readonly<Record<Quant, number>> = {
  f32: 0, f16: 1, q4_0: 2, q4_1: 3, q8_0: 7, q5_0: 8, q5_1: 9, q2_k: 10, q3_k: 11, q3_k_m: 12, q4_k: 14, q4_k_m: 15, q5_k: 16,
  q5_k_m: 17, q6_k: 18, iq4_nl: 25, iq4_xs: 30, bf16: 32, mxfp4: 38,
}
