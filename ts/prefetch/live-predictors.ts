/**
 * Predictors that learn and are scored while a model runs. They guess in shadow: each choice is guessed before it is learnt, at no
 * cost to the engine. The native look-ahead, which scores itself, stands in the same table.
 *
 * What sequences of one client teach stays with that client: it is used for no other's guesses, and nobody's counts (client 0) alone
 * can be kept for the next run, or be sent to the engine as a table to guess by. The least recent client is forgotten when there are too many.
 * Pure: whoever calls says when the time for learning is up; the tokens that are left then are not learnt.
 */
import type { EngineEvent } from './events.js'
import type { ExpertBlocks } from './expert-blocks.js'
import { followTable } from './follow-table.js'
import { type ScoreTally, scoreTally, type SourceScore } from './guess-score.js'
import { canLearn, type Learner, learner, relationsLearnt, sources } from './learner.js'
import type { FollowTable } from './plan.js'
import type { LearntSource } from './predictors/index.js'
import type { RelationCounts } from './predictors/relation-counts.js'
import { restoreCounts, saveCounts, type SavedCounts } from './predictors/saved-counts.js'
import { routeJoiner } from './token-routes.js'

/** The next layer's router on the stream of this one (native/model/layers/lookahead.h). */
export const routerSource = 'router'

const clientsMax = 16
/** Of the tables of all named clients. */
const clientBytesMax: number = 64 * 2 ** 20

export interface LivePredictors {
  /** Events in order. @param isTimeUp asked before each token but the first */
  observe(events: readonly EngineEvent[], isTimeUp: () => boolean): void
  /** The look-ahead first, then each predictor, over all clients. */
  scores(): readonly SourceScore[]
  /** Tokens learnt and left out since the beginning. */
  readonly tokens: { readonly learnt: number; readonly skipped: number }
  /** Of a client, if something was learnt of it. */
  learnt(client: number): RelationCounts | undefined
  /** Of these, the one that found most of what nobody's sequences had to read; undefined before it was seen often enough. */
  best(among: readonly LearntSource[]): Candidate | undefined
  /** What it learnt of nobody's sequences, for the engine to guess by. */
  table(source: LearntSource): FollowTable
  /** Of nobody's sequences, for the next run of the same model; undefined when they taught nothing new. */
  save(): SavedCounts | undefined
}

/** A predictor that could act. */
export interface Candidate {
  readonly name: LearntSource
  /** Share of the experts that had to be read which it named. */
  readonly recallOfAbsent: number
}

/** Of nobody's, decayed: before so many, a share says too little. */
const tokensLeast = 32

/**
 * @param before of the same model: what learning of nobody's sequences goes on from
 * @returns undefined for a model that is dense, or too large
 */
export function livePredictors(manifest: ExpertBlocks, guessesMax: number, before?: SavedCounts): LivePredictors | undefined {
  const joiner = routeJoiner(manifest)
  const { shape } = joiner
  if (!canLearn(shape)) return undefined
  const router = scoreTally(routerSource)
  const tallies = sources.map(({ name }) => scoreTally(name))
  const nobodysTallies = sources.map(({ name }) => ({ name, tally: scoreTally(name) }))
  const nobodys = learner(shape, before === undefined ? undefined : restoreCounts(before, shape, relationsLearnt))
  const named = new Map<number, Learner>()
  const namedMax = Math.min(clientsMax, Math.max(1, Math.floor(clientBytesMax / bytesOf(nobodys.counts))))
  const tokens = { learnt: 0, skipped: 0 }
  let isNobodysNew = false

  const learnerOf = (client: number): Learner => {
    if (client === 0) return nobodys
    const found = named.get(client) ?? learner(shape)
    named.delete(client)
    named.set(client, found)
    if (named.size > namedMax) named.delete(named.keys().next().value!)
    return found
  }

  return {
    tokens,
    observe(events, isTimeUp) {
      for (const event of events) if (event.kind === 'guess' && event.origin === 'router') router.add(event)
      const made = joiner.observe(events)
      for (const [i, token] of made.entries()) {
        if (i > 0 && isTimeUp()) {
          tokens.skipped += made.length - i
          return
        }
        tokens.learnt++
        isNobodysNew ||= token.client === 0
        learnerOf(token.client).observe(token, guessesMax).forEach((score, j) => {
          tallies[j]!.add(score)
          if (token.client === 0) nobodysTallies[j]!.tally.add(score)
        })
      }
    },
    scores: () => [router, ...tallies].map((tally: ScoreTally) => tally.score()),
    learnt: (client) => (client === 0 ? nobodys : named.get(client))?.counts,
    best(among) {
      let best: Candidate | undefined
      for (const { name, tally } of nobodysTallies) {
        const { tokens: seen, recallOfAbsent } = tally.score()
        if (!among.includes(name) || seen < tokensLeast || recallOfAbsent === undefined) continue
        if (best === undefined || recallOfAbsent > best.recallOfAbsent) best = { name, recallOfAbsent }
      }
      return best
    },
    table: (source) => followTable(manifest, nobodys.counts, sources.find(({ name }) => name === source)!.uses),
    save: () => (isNobodysNew ? saveCounts(nobodys.counts) : undefined),
  }
}

const bytesOf = ({ tables, uses, totals }: RelationCounts): number =>
  tables.reduce((sum, table) => sum + table.followers.byteLength + table.counts.byteLength + table.totals.byteLength, uses.byteLength + totals.byteLength)

