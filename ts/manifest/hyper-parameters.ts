/**
 * Checked reading of a model's hyper-parameters: each value with its range, its fallback and the rule it belongs to.
 *
 * Keys are given without the architecture's prefix. Wrong types are refused by Metadata itself; what is refused here has
 * the right type and a value that no model can have.
 */
import type { GgufModel } from '../gguf/types.js'
import { badValue, unsupportedValue, type Rule } from './model-error.js'

/** No vector is wider and no matrix higher; kWidthMax of native/runtime/load_checks.h. */
export const widthMax: number = 2 ** 26

export interface HyperParameters {
  readonly model: GgufModel
  readonly architecture: string
  /** "embedding_length" → "llama.embedding_length" */
  key(suffix: string): string
  has(suffix: string): boolean
  /** An integer in min .. max; `fallback` when the key is missing, an error without one. */
  integer(suffix: string, rule: Rule, range: { min?: number; max?: number; fallback?: number }): number
  /** As `integer`, for keys that may hold one value per layer; layers that differ are not supported. */
  perLayer(suffix: string, rule: Rule, nLayer: number, range: { min?: number; max?: number; fallback?: number }): number
  /** A finite number above `above`; `fallback` when the key is missing, an error without one. */
  float(suffix: string, rule: Rule, range: { above: number; fallback?: number }): number
  boolean(suffix: string, fallback: boolean): boolean
  string(suffix: string): string | undefined
}

export function hyperParameters(model: GgufModel, architecture: string): HyperParameters {
  const { metadata } = model
  const key = (suffix: string): string => `${architecture}.${suffix}`

  const inRange = (suffix: string, rule: Rule, found: number, min: number, max: number): number => {
    if (Number.isInteger(found) && found >= min && found <= max) return found
    throw badValue(model, rule, key(suffix), found, `an integer from ${min} to ${max}`)
  }

  const integer: HyperParameters['integer'] = (suffix, rule, { min = 1, max = widthMax, fallback }) => {
    const found = metadata.integer(key(suffix))
    if (found !== undefined) return inRange(suffix, rule, found, min, max)
    if (fallback !== undefined) return fallback
    throw badValue(model, rule, key(suffix), undefined, `an integer from ${min} to ${max}`)
  }

  const perLayer: HyperParameters['perLayer'] = (suffix, rule, nLayer, range) => {
    if (metadata.typeOf(key(suffix)) !== 'array') return integer(suffix, rule, range)
    const found = Array.from(metadata.numbers(key(suffix)) ?? [], Number)
    if (found.length !== nLayer) {
      throw badValue(model, rule, key(suffix), `an array of ${found.length}`, `one value, or one for each of ${nLayer} layers`)
    }
    for (const value of found) inRange(suffix, rule, value, range.min ?? 1, range.max ?? widthMax)
    const first = found[0]!
    const other = found.findIndex((value) => value !== first)
    if (other < 0) return first
    throw unsupportedValue(model, rule, key(suffix), `${first} in layer 0 and ${found[other]} in layer ${other}`, 'equal layers')
  }

  const float: HyperParameters['float'] = (suffix, rule, { above, fallback }) => {
    const found = metadata.float(key(suffix))
    if (found !== undefined) {
      if (Number.isFinite(found) && found > above) return found
      throw badValue(model, rule, key(suffix), found, `a finite number above ${above}`)
    }
    if (fallback !== undefined) return fallback
    throw badValue(model, rule, key(suffix), undefined, `a finite number above ${above}`)
  }

  return {
    model,
    architecture,
    key,
    has: (suffix) => metadata.has(key(suffix)),
    integer,
    perLayer,
    float,
    boolean: (suffix, fallback) => metadata.boolean(key(suffix)) ?? fallback,
    string: (suffix) => metadata.string(key(suffix)),
  }
}
