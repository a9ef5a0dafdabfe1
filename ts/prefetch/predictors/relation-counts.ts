/**
 * Counts of what followed what, for several relations between choices, and what they say of the next choice.
 *
 * Each expert that was chosen before gives its followers' rates, smoothed by how often the layer chooses an expert at all. The evidence is
 * joined as odds: base odds times the likelihood ratio of each expert that came before, to a power below 1, because experts
 * chosen together repeat each other's evidence.
 *
 * Timelines learn into the same counts, but each follows its own choices only: tokens of two sequences never mix.
 */
import { invariant } from '../../base/errors.js'
import type { PredictorShape } from './predictor.js'
import { followersOf, learn, type RelationTable, relationTable } from './relation-table.js'

export interface Relation {
  /** What came before: the same token's layer so many before, or the same layer so many tokens before. */
  readonly of: 'layer' | 'token'
  readonly distance: number
}

/** The base rate weighs as much as this many observations. */
const priorWeight = 4
/** How much of the evidence of one relation counts beside another's and beside that of its own other experts. */
const evidencePower = 0.7
/** Choices per layer after which base rates are halved. */
const baseTotalMax = 1_024

/** Plain numbers, allocated once and never grown. */
export interface RelationCounts {
  readonly shape: PredictorShape
  readonly relations: readonly Relation[]
  /** One per relation; rows by [layer][expert] that came before. */
  readonly tables: readonly RelationTable[]
  /** Decayed choices of each expert, [layer][expert], and of each layer. */
  readonly uses: Float32Array
  readonly totals: Float32Array
}

/** @param width followers kept per row; default: as many as a row holds at most */
export function relationCounts(shape: PredictorShape, relations: readonly Relation[], width?: number): RelationCounts {
  const { layers, nExpert } = shape
  return {
    shape, relations,
    tables: relations.map(() => relationTable(layers * nExpert, nExpert, width)),
    uses: new Float32Array(layers * nExpert), totals: new Float32Array(layers),
  }
}

/** One sequence's choices, in order. */
export interface Timeline {
  observe(layer: number, experts: ArrayLike<number>): void
  /** What follows was not chosen after what was seen last. */
  interrupt(): void
  /** Log odds by how often `layer` chooses each expert, whatever came before; into nExpert entries. */
  base(layer: number, into: Float64Array): void
  /** Adds what relation `index` says of the next choice of `layer` to log odds; nothing where what came before is not known. */
  weigh(layer: number, index: number, odds: Float64Array): void
}

export function timeline(counts: RelationCounts): Timeline {
  const { shape: { layers, nExpert }, relations, tables, uses, totals } = counts
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
  const rate = (layer: number, expert: number): number => baseRate(counts, layer, expert)

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
    base(layer, into) {
      for (let expert = 0; expert < nExpert; expert++) {
        into[expert] = baseOdds(rate(layer, expert))
      }
    },
    weigh(layer, index, odds) {
      const found = before(relations[index]!, layer)
      if (found === undefined) return
      let unseen = 0
      for (const expert of found.experts) {
        const evidence = evidenceOf(tables[index]!, found.row + expert, (follower) => rate(layer, follower))
        if (evidence === undefined) continue
        unseen += evidence.unseen
        evidence.each((follower, more) => (odds[follower]! += more))
      }
      for (let expert = 0; expert < nExpert; expert++) odds[expert]! += unseen
    },
  }
}

/** How often a layer chooses an expert, whatever came before: the prior's rate until more is known. */
export const baseRate = ({ shape: { nExpert, nExpertUsed }, uses, totals }: RelationCounts, layer: number, expert: number): number =>
  (uses[layer * nExpert + expert]! + (priorWeight * nExpertUsed) / nExpert) / (totals[layer]! + priorWeight)

/** Log odds of a rate. */
export const baseOdds = (rate: number): number => Math.log(rate / Math.max(1e-6, 1 - rate))

/** What one expert that came before says, as differences of log odds. */
export interface Evidence {
  /** Of any expert that never followed. */
  readonly unseen: number
  /** Calls `visit` with each follower and how much more than `unseen` it has. */
  each(visit: (follower: number, more: number) => void): void
}

/**
 * @param base how often the layer that follows chooses an expert
 * @returns undefined where nothing was learnt
 */
export function evidenceOf(table: RelationTable, row: number, base: (expert: number) => number): Evidence | undefined {
  const total = table.totals[row]!
  if (total === 0) return undefined
  // An expert that never followed has only the prior's share of its base rate.
  const unseen = evidencePower * Math.log(priorWeight / (total + priorWeight))
  return {
    unseen,
    each(visit) {
      followersOf(table, row, (expert, count) => {
        visit(expert, moreOdds(count / base(expert)))
      })
    },
  }
}

/**
 * Log odds that a follower has more than an expert that never followed. The row's total falls out: ln of
 * (count + prior * rate) / ((total + prior) * rate), less ln of prior / (total + prior).
 *
 * @param worth how often it followed, over the rate at which its layer chooses it anyway
 */
export const moreOdds = (worth: number): number => evidencePower * Math.log1p(worth / priorWeight)

const emptyHistory = (layers: number, tokensKept: number): (Uint16Array | undefined)[][] =>
  Array.from({ length: tokensKept + 1 }, () => new Array<undefined>(layers).fill(undefined))
