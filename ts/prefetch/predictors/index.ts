/** The predictors by name, in the order in which replays list them. */
import { HypuraError, nearest } from '../../base/errors.js'
import { none } from './none.js'
import type { PredictorKind } from './predictor.js'
import type { Relation } from './relation-counts.js'
import { relationPredictor } from './relations.js'

/** Predictors that learn: each can be what guesses are made by. */
export const learntSources = ['popular', 'previous-token', 'previous-layer', 'markov', 'co-activation'] as const
export type LearntSource = (typeof learntSources)[number]

/** What each of them looks at. A plan's table can hold layers up to four back, and the token before (native/scheduler/follow_table.h). */
export const learntRelations: ReadonlyMap<LearntSource, readonly Relation[]> = new Map<LearntSource, readonly Relation[]>([
  // How often each layer chooses each expert, and nothing else: what any relation must beat.
  ['popular', []],
  ['previous-token', [{ of: 'token', distance: 1 }]],
  ['previous-layer', [{ of: 'layer', distance: 1 }]],
  ['markov', [{ of: 'layer', distance: 1 }, { of: 'token', distance: 1 }]],
  // Experts that the same token chose in up to four layers before.
  ['co-activation', [1, 2, 3, 4].map((distance) => ({ of: 'layer', distance }))],
])

export const predictors: ReadonlyMap<string, PredictorKind> = new Map(
  [none, ...[...learntRelations].map(([name, relations]) => relationPredictor(name, relations))].map((kind) => [kind.name, kind]),
)

/** @param also names that only replays know. Error: ERR_HYPURA_INVALID_ARGUMENT with the known ones. */
export function predictorKind(name: string, also: readonly string[] = []): PredictorKind {
  const found = predictors.get(name)
  if (found !== undefined) return found
  const known = [...predictors.keys(), ...also]
  const near = nearest(name, known)
  throw new HypuraError(
    'ERR_HYPURA_INVALID_ARGUMENT',
    `"${name}" is not a predictor${near === undefined ? '' : `; did you mean "${near}"?`} Known: ${known.join(', ')}.`,
    { found: name, allowed: known, suggestion: near },
  )
}
