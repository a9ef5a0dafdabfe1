/** The planner's thread: statistics over event batches, a plan for each. It never touches the addon. */
import { parentPort, workerData } from 'node:worker_threads'
import { accessStats } from '../prefetch/access-stats.js'
import { evictionPolicy } from '../prefetch/eviction/index.js'
import { guessTrials } from '../prefetch/guess-trials.js'
import { planResidency } from '../prefetch/planner.js'
import { decodeEvents } from './codec/events.js'
import { encodePlan } from './codec/plan.js'
import type { EventsMessage, PlanMessage, PlannerSetup } from './planner-host.js'

const { manifest, eviction, drive, before, guess } = workerData as PlannerSetup
const policy = evictionPolicy(eviction)
const stats = accessStats(manifest, before)
const trials = guessTrials()
/** The first plan, of what was known before, is the host's. */
let sequenceNumber = 1

parentPort!.on('message', ({ regions, events, count }: EventsMessage) => {
  const began = performance.now()
  const seen = decodeEvents(events, count)
  stats.observe(seen)
  trials.observe(seen)
  const guessMode = guess === 'auto' ? trials.mode() : guess
  const plan = encodePlan(planResidency({ manifest, regions, policy, drive, stats, sequenceNumber: ++sequenceNumber, guessMode }), manifest.blocks.count)
  parentPort!.postMessage({ plan, events, milliseconds: performance.now() - began, use: stats.save() } satisfies PlanMessage, [plan, events.buffer])
})
