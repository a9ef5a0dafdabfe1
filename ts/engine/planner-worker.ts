/** The planner's thread: statistics and predictors over event batches, a plan for each. It never touches the addon. */
import { parentPort, workerData } from 'node:worker_threads'
import { letOthersGoFirst } from '../machine/thread-priority.js'
import { accessStats } from '../prefetch/access-stats.js'
import { evictionPolicy } from '../prefetch/eviction/index.js'
import { type Guessing, guessTrials } from '../prefetch/guess-trials.js'
import { livePredictors } from '../prefetch/live-predictors.js'
import { nobodysRoutes } from '../prefetch/nobodys-routes.js'
import { guessesMaxOf, planResidency } from '../prefetch/planner.js'
import { learntSources } from '../prefetch/predictors/index.js'
import { decodeEvents } from './codec/events.js'
import { encodePlan } from './codec/plan.js'
import type { EventsMessage, PlanMessage, PlannerSetup } from './planner-host.js'

/** Of 19: on a busy machine a plan comes late, which costs freshness, and not never. */
const plannerNice = 10
/**
 * Of each batch, for learning and scoring: as long as the plan took, in these bounds. The rest between two batches is 20 times as long as
 * both together and 500 ms at most, so this keeps half of the planner's share even where tokens come faster than they can be learnt.
 */
const learningMs = { least: 2, most: 12 } as const

// While tokens are computed there is no processor left; while they wait for the drive there is.
letOthersGoFirst(plannerNice)

const { manifest, eviction, drive, before, guess, guessSource } = workerData as PlannerSetup
const policy = evictionPolicy(eviction)
const stats = accessStats(manifest, before.use)
/** What is kept for the next run. The plan serves all sequences of the one cache, so it goes by all of their use. */
const nobodysStats = accessStats(manifest, before.use)
const nobodys = nobodysRoutes()
let isNobodysNew = false
const predictors = guess === 'off' ? undefined : livePredictors(manifest, guessesMaxOf(manifest.spec), before.relations)
const mayAct = guessSource === 'auto' ? learntSources : guessSource === 'router' ? [] : [guessSource]
const trials = guessTrials({ router: guessSource === 'auto' || guessSource === 'router', learnt: () => predictors?.best(mayAct) })
/** The first plan, of what was known before, is the host's. */
let sequenceNumber = 1
let planMs = 0
const total = { plannerMs: 0, learningMs: 0 }

parentPort!.on('message', ({ regions, events, count, isLast }: EventsMessage) => {
  const began = performance.now()
  const seen = decodeEvents(events, count)
  stats.observe(seen)
  const kept = nobodys(seen)
  nobodysStats.observe(kept)
  isNobodysNew ||= kept.length > 0
  trials.observe(seen)
  const learningBegan = performance.now()
  const learningEnds = learningBegan + Math.min(learningMs.most, Math.max(learningMs.least, planMs))
  predictors?.observe(seen, () => performance.now() > learningEnds)
  const learningEnded = performance.now()
  // Without a trial the router is preferred: it is the better guess wherever both could be measured (decision 0014).
  const { mode, source }: Guessing = guess === 'auto' ? trials.next() : { mode: guess, source: guessSource === 'auto' ? 'router' : guessSource }
  const followers = mode === 'off' || source === 'router' ? undefined : predictors?.table(source)
  const plan = encodePlan(planResidency({ manifest, regions, policy, drive, stats, sequenceNumber: ++sequenceNumber, guessMode: mode, followers }), manifest.blocks.count)
  const milliseconds = performance.now() - began
  planMs = milliseconds - (learningEnded - learningBegan)
  total.plannerMs += milliseconds
  total.learningMs += learningEnded - learningBegan
  const guesses = { mode, source: followers === undefined ? 'router' as const : source, decided: trials.decided(), scores: predictors?.scores() ?? [], ...(predictors?.tokens ?? { learnt: 0, skipped: 0 }), ...total }
  parentPort!.postMessage({ plan, events, milliseconds, use: isNobodysNew ? nobodysStats.save() : undefined, guesses, relations: isLast ? predictors?.save() : undefined, isLast } satisfies PlanMessage, [plan, events.buffer])
})
