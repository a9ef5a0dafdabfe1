/** Predictors that count what followed what. They differ in the relations they look at: relation-counts.ts says how these are joined. */
import { HypuraError } from '../../base/errors.js'
import type { Predictor, PredictorKind, PredictorShape, PredictorState } from './predictor.js'
import { type Relation, relationCounts, timeline } from './relation-counts.js'

const stateFormat = 1

export function relationPredictor(name: string, relations: readonly Relation[]): PredictorKind {
  return { name, create: (shape, state) => create(name, relations, shape, state) }
}

function create(name: string, relations: readonly Relation[], shape: PredictorShape, state: PredictorState | undefined): Predictor {
  const { nExpert } = shape
  const counts = relationCounts(shape, relations)
  const numbers: Record<string, Float32Array | Uint16Array> = { uses: counts.uses, totals: counts.totals }
  counts.tables.forEach((table, i) => Object.assign(numbers, { [`followers${i}`]: table.followers, [`counts${i}`]: table.counts, [`totals${i}`]: table.totals }))
  if (state !== undefined) restore(numbers, name, shape, state)
  const { observe, interrupt, base, weigh } = timeline(counts)
  const odds = new Float64Array(nExpert)

  return {
    observe,
    interrupt,
    predict(layer, into) {
      base(layer, odds)
      for (let index = 0; index < relations.length; index++) weigh(layer, index, odds)
      for (let expert = 0; expert < nExpert; expert++) into[expert] = 1 / (1 + Math.exp(-odds[expert]!))
    },
    save: () => ({
      name, format: stateFormat, shape,
      numbers: Object.fromEntries(Object.entries(numbers).map(([key, values]) => [key, values.slice()])),
    }),
  }
}
function restore(numbers: Readonly<Record<string, Float32Array | Uint16Array>>, name: string, shape: PredictorShape, state: PredictorState): void {
  const refuse = (field: string, what: string): never => {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `a predictor's saved state: ${field} ${what}; forget it and learn anew`, { field })
  }
  if (state.name !== name) refuse('name', `is "${String(state.name)}", not "${name}"`)
  if (state.format !== stateFormat) refuse('format', `is ${String(state.format)}, not ${stateFormat}`)
  for (const key of ['layers', 'nExpert', 'nExpertUsed'] as const) {
    if (state.shape?.[key] !== shape[key]) refuse(`shape.${key}`, `is ${String(state.shape?.[key])}, not ${shape[key]}`)
  }
  for (const [key, into] of Object.entries(numbers)) {
    const given: unknown = state.numbers?.[key]
    if (into instanceof Float32Array ? !(given instanceof Float32Array) : !(given instanceof Uint16Array)) refuse(`numbers.${key}`, 'is missing or of another type')
    const values = given as Float32Array | Uint16Array
    if (values.length !== into.length) refuse(`numbers.${key}`, `has ${values.length} entries, not ${into.length}`)
    const isFollower = into instanceof Uint16Array
    for (const value of values) {
      if (isFollower ? value !== 0xffff && value >= shape.nExpert : !(value >= 0 && value <= 1e6)) refuse(`numbers.${key}`, `holds ${value}`)
    }
  }
  for (const [key, into] of Object.entries(numbers)) into.set(state.numbers[key]!)
}
