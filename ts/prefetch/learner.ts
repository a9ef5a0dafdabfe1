/**
 * What is learnt of which experts follow which, from one group of sequences, while the model runs.
 *
 * All predictors share one set of counts; each sequence follows its own tokens. A token that does not continue what was seen last of its
 * sequence (a prompt in between, a cut timeline, tokens that were left out) begins anew. The size is fixed but for the sequences that
 * are followed, of which the least recent are forgotten.
 */
import { invariant } from '../base/errors.js'
import type { TokenScore } from './guess-score.js'
import { learntRelations, type LearntSource } from './predictors/index.js'
import type { PredictorShape } from './predictors/predictor.js'
import { type Relation, type RelationCounts, relationCounts, type Timeline, timeline } from './predictors/relation-counts.js'
import type { TokenRoutes } from './token-routes.js'

/** Each relation that some predictor looks at, once. */
export const relationsLearnt: readonly Relation[] = [...new Map(
  [...learntRelations.values()].flat().map((relation) => [`${relation.of} ${relation.distance}`, relation]),
).values()]
/** Predictors by name, with the numbers of their relations. */
export const sources: readonly { readonly name: LearntSource; readonly uses: readonly number[] }[] = [...learntRelations].map(([name, relations]) => ({
  name, uses: relations.map(({ of, distance }) => relationsLearnt.findIndex((known) => known.of === of && known.distance === distance)),
}))

/** Of at most 256 sequences that a model has: choices of two tokens each. */
const followedMax = 64
/** Rows of one relation's table. Larger models are not learnt: their tables would take hundreds of megabytes. */
const rowsMax = 65_536

export const canLearn = ({ layers, nExpert }: PredictorShape): boolean => layers > 1 && layers * nExpert <= rowsMax

export interface Learner {
  readonly counts: RelationCounts
  /** A token, in the order in which its sequence makes them. @returns what each predictor would have been worth, in the order of `sources` */
  observe(token: TokenRoutes, guessesMax: number): readonly TokenScore[]
}

interface Followed {
  readonly line: Timeline
  nextPosition: number
}

export function learner(shape: PredictorShape, counts: RelationCounts = relationCounts(shape, relationsLearnt)): Learner {
  invariant(canLearn(shape), `learning ${shape.layers} layers of ${shape.nExpert} experts`)
  const { layers, nExpert } = shape
  const followed = new Map<number, Followed>()
  const base = new Float64Array(nExpert)
  const evidence = relationsLearnt.map(() => new Float64Array(nExpert))
  const odds = new Float64Array(nExpert)

  const follow = ({ sequence, position }: TokenRoutes): Timeline => {
    const known = followed.get(sequence) ?? { line: timeline(counts), nextPosition: position }
    if (position !== known.nextPosition) known.line.interrupt()
    known.nextPosition = position + 1
    followed.delete(sequence)
    followed.set(sequence, known)
    if (followed.size > followedMax) followed.delete(followed.keys().next().value!)
    return known.line
  }

  return {
    counts,
    observe(token, guessesMax) {
      const line = follow(token)
      const scores = sources.map(() => ({ guessed: 0, correct: 0, asked: 0, absent: 0, correctAbsent: 0 }))
      for (let layer = 0; layer < layers; layer++) {
        const chosen = token.experts[layer]!
        // The first layer is never guessed: no layer before it asks for experts.
        if (layer > 0) {
          line.base(layer, base)
          evidence.forEach((weights, i) => line.weigh(layer, i, weights.fill(0)))
          sources.forEach(({ uses }, i) => {
            for (let expert = 0; expert < nExpert; expert++) {
              let sum = base[expert]!
              for (const relation of uses) sum += evidence[relation]![expert]!
              odds[expert] = sum
            }
            judge(takeBest(odds, guessesMax), chosen, token.absent[layer]!, scores[i]!)
          })
        }
        line.observe(layer, chosen)
      }
      return scores
    },
  }
}

function judge(named: readonly number[], chosen: readonly number[], absent: readonly number[], score: { -readonly [name in keyof TokenScore]: number }): void {
  score.guessed += named.length
  score.asked += chosen.length
  score.absent += absent.length
  for (const expert of named) {
    if (chosen.includes(expert)) score.correct++
    if (absent.includes(expert)) score.correctAbsent++
  }
}

/** The experts with the highest odds, best first, ties by number. Overwrites `odds`. */
function takeBest(odds: Float64Array, most: number): number[] {
  const best: number[] = []
  while (best.length < Math.min(most, odds.length)) {
    let highest = 0
    for (let expert = 1; expert < odds.length; expert++) if (odds[expert]! > odds[highest]!) highest = expert
    best.push(highest)
    odds[highest] = -Infinity
  }
  return best
}
