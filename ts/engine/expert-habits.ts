/**
 * Which experts a model uses most, kept between runs: the next run begins with scores and a list of experts to read first, instead of
 * learning them again (docs/decisions/0011-routing-traces.md).
 *
 * One state file per model, named after its header. Counts of experts say no word of a text, but roughly what kind it was; state that is
 * switched off (HYPURA_STATE_DIR=off) is neither read nor written.
 */
import { z } from 'zod'
import type { ExpertUse } from '../prefetch/access-stats.js'
import { canLearn } from '../prefetch/learner.js'
import { predictorShape } from '../prefetch/token-routes.js'
import type { ModelDescription } from './model-description.js'
import { modelIdentity } from './model-identity.js'
import { type RelationHabits, relationHabitsOf } from './relation-habits.js'
import { readState, stateFolder, writeState } from './state-store.js'

const kind = 'expert-use'
/** Decayed counts: far above what a half-life of 256 sweeps can add up to. */
const countMax = 1e6
/** Fewer sweeps say too little to replace what is known. */
const sweepsLeast = 16

interface StoredUse extends ExpertUse {
  readonly version: 1
}

export interface ExpertHabits {
  /** What earlier runs saw; undefined on the first one. */
  readonly before: ExpertUse | undefined
  /** A file that was there and could not be used. */
  readonly warning: string | undefined
  /** Returns why it could not be kept; undefined when it was, or when there is too little to keep. Never throws. */
  save(use: ExpertUse): string | undefined
}

/** All that is kept of a mixture between runs. */
export interface MixtureHabits {
  readonly use: ExpertHabits
  /** Undefined where nothing is learnt: guesses are off, or the model is too large. */
  readonly relations: RelationHabits | undefined
}

/** Undefined for dense models and when state is switched off. Never throws. @param guesses whether anything is learnt for them */
export async function mixtureHabits({ gguf, manifest }: Pick<ModelDescription, 'gguf' | 'manifest'>, guesses: boolean): Promise<MixtureHabits | undefined> {
  const { count } = manifest.experts
  if (count === 0 || stateFolder() === undefined) return undefined
  try {
    const identity = await modelIdentity(gguf)
    const shape = predictorShape(manifest)
    return { use: habitsOf(identity, count), relations: guesses && canLearn(shape) ? relationHabitsOf(identity, shape) : undefined }
  } catch {
    // A header that cannot be read again fails the load in its own words.
    return undefined
  }
}

/** Exported for its test. */
export function habitsOf(identity: string, experts: number): ExpertHabits {
  const name = `experts/${identity.slice(0, 32)}`
  const counts = z.instanceof(Float32Array).refine((uses) => uses.length === experts && uses.every((count) => count >= 0 && count <= countMax))
  const schema: z.ZodType<StoredUse> = z.strictObject({ version: z.literal(1), uses: counts, sweeps: z.number().positive().max(countMax) })
  const { value, warning } = readState(name, kind, schema)
  return {
    before: value === undefined ? undefined : { uses: value.uses, sweeps: value.sweeps },
    warning,
    save: ({ uses, sweeps }) => (sweeps < sweepsLeast ? undefined : writeState(name, kind, { version: 1, uses, sweeps } satisfies StoredUse)),
  }
}
