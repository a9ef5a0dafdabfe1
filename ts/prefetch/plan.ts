/**
 * Policy as data: what to keep and what to read in idle time. Immutable and numbered; the twin of Plan in
 * native/scheduler/plan.h, encoded by ts/engine/codec/plan.ts.
 *
 * A plan may make a run slow, never wrong: nothing in it can change a logit.
 */
import type { Relation } from './predictors/relation-counts.js'

/**
 * How a prefill sweep's experts enter the pool. `normal`: like any other. `keepHits`: into a free slot or the least worthy
 * one, with score 0, so that the next eviction takes them first. `bypass`: the same, and their use counts for nothing.
 */
export type PrefillAdmission = 'normal' | 'keepHits' | 'bypass'

/**
 * What the engine does with guesses of the experts that the next layer will ask for. `shadow`: keeps score. `retain`: also
 * gives up last those that are in memory. `prefetch`: also reads those that are not (native/scheduler/guesses.h has the bounds).
 */
export type GuessMode = 'off' | 'shadow' | 'retain' | 'prefetch'

/** Where the engine's guesses come from: the next layer's router, or the plan's own table. */
export type GuessOrigin = 'router' | 'table'

/** Which experts follow which, in fixed point; the engine names the highest sums (native/scheduler/follow_table.h). */
export interface FollowTable {
  readonly relations: readonly Relation[]
  /** Rows are of expert blocks, from this one on. */
  readonly firstBlock: number
  /** By row: worth of the expert itself, whatever came before. */
  readonly base: Uint16Array
  /** Places of a row. */
  readonly width: number
  /** [relation][row][place]: an expert of the layer that follows (65535: nobody), and what it gains when the row's expert was chosen. */
  readonly followers: Uint16Array
}

export const noFollowers: FollowTable = { relations: [], firstBlock: 0, base: new Uint16Array(0), width: 0, followers: new Uint16Array(0) }

export interface ResidencyPlan {
  /** Rises with each plan; native refuses an older one. */
  readonly sequenceNumber: number
  /** Bands of the pin order that stay; at most what was loaded. */
  readonly pinCount: number
  readonly prefillAdmission: PrefillAdmission
  /** Seconds of stall avoided per GiB kept, by block id; finite and >= 0. */
  readonly scores: Float32Array
  /** Expert blocks that are not evicted once filled, ascending; at most half of the pool's slots. */
  readonly hold: Uint32Array
  /** Expert blocks that idle time reads, in this order. */
  readonly warm: Uint32Array
  readonly guessMode: GuessMode
  /** Candidates per layer, 0 to 32. */
  readonly guessesMax: number
  readonly guessOrigin: GuessOrigin
  readonly followers: FollowTable
}
