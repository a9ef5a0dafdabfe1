/**
 * Rotary positions: the angle per position of each rotated pair, with everything that a file says about longer contexts.
 *
 * Without scaling, pair i of n_rot / 2 turns by base^(-2i / n_rot) radians per position. `linear` divides all angles by the
 * factor. `yarn` divides slow pairs by it, leaves fast ones alone, blends between the two and raises the magnitude. A factors
 * tensor (Llama 3) divides each pair by its own number. All of it is folded into one table, in double precision, so that the
 * decoder knows nothing of scaling.
 *
 * @see Su et al. 2021 (rotary positions); Peng et al. 2023 (YaRN), with the magnitude of its section 3.4
 */
import type { GgufModel } from '../gguf/types.js'
import type { HyperParameters } from './hyper-parameters.js'
import { badValue, modelError, unsupportedValue } from './model-error.js'
import { typeF32 } from './kernel-types.js'

export interface RopeScaling {
  readonly kind: 'none' | 'linear' | 'yarn'
  /** How many times longer the context is than the one trained; 1 for none. */
  readonly factor: number
  /** YaRN: positions the model was trained with before it was stretched. */
  readonly originalContext: number
  /** YaRN: 0 .. 1, how much of the blend is used. */
  readonly extrapolation: number
  /** YaRN: pairs that turn at least this often within the original context stay as they are. */
  readonly betaFast: number
  /** YaRN: pairs that turn at most this often are divided by the whole factor. */
  readonly betaSlow: number
  /** Multiplies the magnitude. */
  readonly attentionFactor: number
}

export const noScaling: RopeScaling = {
  kind: 'none', factor: 1, originalContext: 0, extrapolation: 1, betaFast: 32, betaSlow: 1, attentionFactor: 1,
}

/** Radians per position of each rotated pair. `factors`: one divisor per pair, or none. */
export function inverseFrequencies(nRot: number, base: number, scaling: RopeScaling, factors?: Float32Array): Float64Array {
  const angles = new Float64Array(nRot / 2)
  const blend = scaling.kind === 'yarn' ? yarnBlend(nRot, base, scaling) : () => 0
  for (let pair = 0; pair < angles.length; pair++) {
    const angle = base ** (-(2 * pair) / nRot) / (factors?.[pair] ?? 1)
    const kept = blend(pair)
    angles[pair] = (angle / scaling.factor) * (1 - kept) + angle * kept
  }
  return angles
}

/** What cosines and sines are multiplied by: 1 + 0.1 ln(factor) for YaRN, times the file's own factor. */
export function ropeMagnitude(scaling: RopeScaling): number {
  const stretched = scaling.kind === 'yarn' && scaling.extrapolation !== 0 && scaling.factor > 1
  return scaling.attentionFactor * (stretched ? 1 + 0.1 * Math.log(scaling.factor) : 1)
}

/** YaRN: how much of each pair's own angle is kept, from 1 (fast pairs) down to 0 (slow pairs). */
function yarnBlend(nRot: number, base: number, scaling: RopeScaling): (pair: number) => number {
  // The pair that makes `turns` full turns within the original context, as a fraction.
  const pairOf = (turns: number): number =>
    (nRot * Math.log(scaling.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  const low = Math.max(0, Math.floor(pairOf(scaling.betaFast)))
  const high = Math.min(nRot - 1, Math.ceil(pairOf(scaling.betaSlow)))
  return (pair) => {
    const ramp = (pair - low) / Math.max(0.001, high - low)
    return (1 - Math.min(1, Math.max(0, ramp))) * scaling.extrapolation
  }
}

/** What the file says about scaling. Errors: CORRUPT_GGUF (P7), UNSUPPORTED_MODEL for kinds not known here. */
export function readScaling(keys: HyperParameters, contextLength: number): RopeScaling {
  const attentionFactor = keys.float('rope.scaling.attn_factor', 'P7', { above: 0, fallback: 1 })
  // Files without a kind, and old ones with rope.scale_linear, mean linear.
  const kind = keys.string('rope.scaling.type') ?? 'linear'
  const older = keys.float('rope.scale_linear', 'P7', { above: 0, fallback: 1 })
  const factor = keys.float('rope.scaling.factor', 'P7', { above: 0, fallback: older })
  if (kind === 'none') return { ...noScaling, attentionFactor }
  if (kind === 'linear') return { ...noScaling, kind: 'linear', factor, attentionFactor }
  if (kind !== 'yarn') {
    throw unsupportedValue(keys.model, 'P7', keys.key('rope.scaling.type'), `"${kind}"`, 'none, linear and yarn')
  }
  return {
    kind,
    factor,
    originalContext: keys.integer('rope.scaling.original_context_length', 'P7', { max: 2 ** 30, fallback: contextLength }),
    extrapolation: keys.float('rope.scaling.yarn_ext_factor', 'P7', { above: -Number.MIN_VALUE, fallback: 1 }),
    betaFast: keys.float('rope.scaling.yarn_beta_fast', 'P7', { above: 0, fallback: 32 }),
    betaSlow: keys.float('rope.scaling.yarn_beta_slow', 'P7', { above: 0, fallback: 1 }),
    attentionFactor: attentionFactor * keys.float('rope.scaling.yarn_attn_factor', 'P7', { above: 0, fallback: 1 }),
  }
}

/** Name of the tensor with one divisor per rotated pair (Llama 3.1 and later). */
export const factorsTensor = 'rope_freqs.weight'

/** The factors, checked; undefined when the file has none. */
export async function readFactors(model: GgufModel, nRot: number): Promise<Float32Array | undefined> {
  const tensor = model.tensors.get(factorsTensor)
  if (tensor === undefined || tensor.dims.includes(0)) return undefined
  if (tensor.type !== typeF32) {
    throw modelError(model, 'ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE', `${factorsTensor} is ${tensor.typeName}, it must be F32.`, {
      rule: 'S14', tensor: factorsTensor, found: tensor.typeName, allowed: 'F32',
    })
  }
  const count = tensor.dims.reduce((product, dim) => product * dim, 1)
  if (count !== nRot / 2) {
    throw modelError(model, 'ERR_HYPURA_CORRUPT_GGUF', `${factorsTensor} has ${count} values, ${nRot / 2} pairs are rotated.`, {
      rule: 'S13', tensor: factorsTensor, found: count, allowed: nRot / 2,
    })
  }
  const bytes = await model.readTensor(factorsTensor)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const factors = Float32Array.from({ length: count }, (_, i) => view.getFloat32(i * 4, true))
  const bad = factors.findIndex((value) => !(Number.isFinite(value) && value > 0))
  if (bad >= 0) throw badValue(model, 'P7', `${factorsTensor}[${bad}]`, factors[bad], 'a finite number above 0')
  return factors
}
