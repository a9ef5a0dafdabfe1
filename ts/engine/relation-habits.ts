/**
 * Which experts of a model follow which, kept between runs: what predictors learnt (ts/prefetch/live-predictors.ts) of nobody's sequences,
 * those that name no client.
 *
 * One state file per model beside that of its use (expert-habits.ts), under the same identity, and as silent about texts.
 */
import { z } from 'zod'
import { relationsLearnt } from '../prefetch/learner.js'
import type { PredictorShape } from '../prefetch/predictors/predictor.js'
import { type SavedCounts, savedCountsFault } from '../prefetch/predictors/saved-counts.js'
import { readState, writeState } from './state-store.js'

const kind = 'expert-relations'
/** Of any layer, in the fixed point of saved counts: fewer choices say too little to replace what is known. */
const choicesLeast: number = 64 * 32

/** The relations, in this order, are part of the version. */
interface StoredRelations extends SavedCounts {
  readonly version: 1
}

export interface RelationHabits {
  /** What earlier runs saw; undefined on the first one. */
  readonly before: SavedCounts | undefined
  /** A file that was there and could not be used. */
  readonly warning: string | undefined
  /** Returns why it could not be kept; undefined when it was, or when there is too little to keep. Never throws. */
  save(counts: SavedCounts): string | undefined
}

/** Never throws. @param identity of the model, as that of its use */
export function relationHabitsOf(identity: string, shape: PredictorShape): RelationHabits {
  const name = `relations/${identity.slice(0, 32)}`
  const numbers = z.instanceof(Uint16Array)
  const schema: z.ZodType<StoredRelations> = z
    .strictObject({ version: z.literal(1), followers: numbers, counts: numbers, totals: numbers, uses: numbers, layerTotals: numbers })
    .refine((stored) => savedCountsFault(stored, shape, relationsLearnt) === undefined)
  const { value, warning } = readState(name, kind, schema)
  return {
    before: value,
    warning,
    save: (counts) => (counts.layerTotals.every((total) => total < choicesLeast) ? undefined : writeState(name, kind, { version: 1, ...counts } satisfies StoredRelations)),
  }
}
