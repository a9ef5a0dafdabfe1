/**
 * Predictors that count what followed what. They differ in the relations they look at: an earlier layer of the same token, the same
 * layer of an earlier token, or several of them.
 *
 * Each expert that was chosen before gives its followers' rates, smoothed by how often the layer chooses an expert at all. The evidence is
 * joined as odds: base odds times the likelihood ratio of each expert that came before, to a power below 1, because experts
 * chosen together repeat each other's evidence.
 */
import { HypuraError, invariant } from '../../base/errors.js'
import type { Predictor, PredictorKind, PredictorShape, PredictorState } from './predictor.js'
import { followersOf, learn, type RelationTable, relationTable } from './relation-table.js'

export interface Relation {
  /** What came before: the same token's layer so many before, or the same layer so many tokens before. */
  readonly of: 'layer' | 'token'
  readonly distance: number
}

const stateFormat = 1
/** The base rate weighs as much as this many observations. */
const priorWeight = 4
/** How much of the evidence of one relation counts beside another's and beside that of its own other experts. */
const evidencePower = 0.7
/** Choices per layer after which base rates are halved. */
const baseTotalMax = 1_024

export function relationPredictor(name: string, relations: readonly Relation[]): PredictorKind {
  return { name, create: (shape, state) => create(name, relations, shape, state) }
}

function create(name: string, relations: readonly Relation[], shape: PredictorShape, state: PredictorState | undefined): Predictor {
  const { layers, nExpert, nExpertUsed } = shape
  const tables = relations.map(() => relationTable(layers * nExpert, nExpert))
  const uses = new Float32Array(layers * nExpert)
  const totals = new Float32Array(layers)
  const numbers: Record<string, Float32Array | Uint16Array> = { uses, totals }
  tables.forEach((table, i) => Object.assign(numbers, { [`followers${i}`]: table.followers, [`counts${i}`]: table.counts, [`totals${i}`]: table.totals }))
  if (state !== undefined) restore(numbers, name, shape, state)

  const tokensKept = Math.max(0, ...relations.map(({ of, distance }) => (of === 'token' ? distance : 0)))
  /** Choices of the token in work and of those before, [tokens back][layer]; undefined: not known. */
  let history: (Uint16Array | undefined)[][] = emptyHistory(layers, tokensKept)
  /** Layers of the token in work that were observed. */
  let seen = 0

  /** The choice that a relation looks at, when `layer` is next. */
  const before = ({ of, distance }: Relation, layer: number): { row: number; experts: Uint16Array } | undefined => {
    // After the last layer the next token begins: what is "this token" moves one back.
    const moved = layer < seen ? 1 : 0
    const [back, at] = of === 'token' ? [distance - moved, layer] : [moved === 0 ? 0 : -1, layer - distance]
    const experts = at < 0 || back < 0 ? undefined : history[back]?.[at]
    return experts === undefined ? undefined : { row: at * nExpert, experts }
  }
  const odds = new Float64Array(nExpert)

  return {
    observe(layer, experts) {
      invariant(layer >= 0 && layer < layers && experts.length <= nExpert, `a choice of ${experts.length} experts in mixture layer ${layer}`)
      if (layer < seen) {
        history = [new Array<undefined>(layers).fill(undefined), ...history].slice(0, tokensKept + 1)
        seen = 0
      }
      relations.forEach((relation, i) => {
        const found = before(relation, layer)
        if (found !== undefined) for (const expert of found.experts) learn(tables[i]!, found.row + expert, experts)
      })
      for (let i = 0; i < experts.length; i++) uses[layer * nExpert + experts[i]!]! += 1
      totals[layer]! += 1
      if (totals[layer]! >= baseTotalMax) {
        totals[layer]! /= 2
        for (let i = 0; i < nExpert; i++) uses[layer * nExpert + i]! /= 2
      }
      history[0]![layer] = Uint16Array.from(experts)
      seen = layer + 1
    },
    interrupt() {
      history = emptyHistory(layers, tokensKept)
      seen = 0
    },
    predict(layer, into) {
      const prior = nExpertUsed / nExpert
      for (let expert = 0; expert < nExpert; expert++) {
        into[expert] = (uses[layer * nExpert + expert]! + priorWeight * prior) / (totals[layer]! + priorWeight)
        odds[expert] = Math.log(into[expert]! / Math.max(1e-6, 1 - into[expert]!))
      }
      relations.forEach((relation, i) => {
        const found = before(relation, layer)
        if (found !== undefined) for (const expert of found.experts) weigh(tables[i]!, found.row + expert, into, odds)
      })
      for (let expert = 0; expert < nExpert; expert++) into[expert] = 1 / (1 + Math.exp(-odds[expert]!))
    },
    save: () => ({
      name, format: stateFormat, shape: { layers, nExpert, nExpertUsed },
      numbers: Object.fromEntries(Object.entries(numbers).map(([key, values]) => [key, values.slice()])),
    }),
  }
}

const emptyHistory = (layers: number, tokensKept: number): (Uint16Array | undefined)[][] =>
  Array.from({ length: tokensKept + 1 }, () => new Array<undefined>(layers).fill(undefined))

/** Moves the odds by what one expert that came before says: its followers up, all others down. */
function weigh(table: RelationTable, row: number, base: Float32Array, odds: Float64Array): void {
  const total = table.totals[row]!
  if (total === 0) return
  // An expert that never followed has only the prior's share of its base rate.
  const unseen = evidencePower * Math.log(priorWeight / (total + priorWeight))
  for (let expert = 0; expert < odds.length; expert++) odds[expert]! += unseen
  followersOf(table, row, (expert, count) => {
    const rate = (count + priorWeight * base[expert]!) / (total + priorWeight)
    odds[expert]! += evidencePower * Math.log(rate / base[expert]!) - unseen
  })
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
