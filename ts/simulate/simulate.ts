/**
 * What a recorded run would have been like under other policies, predictors and amounts of memory. Pure: same trace, same answer.
 *
 * Policies share one disk model and one pool of equal slots. Belady's hits are the most that any of them could have, so a policy's share
 * of them says how much is left to win. Hit rates are over all requests; bytes and stalls per token are those of decoding.
 */
import { HypuraError } from '../base/errors.js'
import type { DriveCost } from '../prefetch/cost-model.js'
import { evictionPolicies, evictionPolicy, offlinePolicies } from '../prefetch/eviction/index.js'
import { formatSize, type MemorySize } from '../prefetch/parse-size.js'
import type { PrefillAdmission } from '../prefetch/plan.js'
import { predictorKind } from '../prefetch/predictors/index.js'
import { oracle } from '../prefetch/predictors/oracle.js'
import type { Predictor } from '../prefetch/predictors/predictor.js'
import type { Trace } from '../trace/trace.js'
import { type Judgement, judgePredictor } from './judge-predictor.js'
import { type Layout, layoutOf, requestsOf } from './layout.js'
import { missesOfRecency } from './miss-ratio.js'
import { offlinePool, scoredPool, type SimulatedPool } from './pools.js'
import { type GuessAction, type Replay, replay } from './replay.js'

/** Bytes of the whole budget, or a share of the experts. */
export type SimulatedMemory = Exclude<MemorySize, { kind: 'auto' }>

export interface SimulateOptions {
  readonly memory: readonly SimulatedMemory[]
  readonly drive: DriveCost
  /** Sweeps between two plans. A model that needs 100 ms per token gets one every five (docs/architecture.md, section 11). */
  readonly planEvery: number
  /** Names of predictors, or `oracle`. */
  readonly predictors: readonly string[]
  /** How prompts enter the pool; undefined: as plans say. */
  readonly admission?: PrefillAdmission | undefined
}

export interface PolicyResult {
  readonly name: string
  /** False: no engine can run it; it is a yardstick. */
  readonly canRun: boolean
  readonly hitRate: number
  /** Hits of those that Belady has. */
  readonly shareOfBelady: number
  readonly bytesPerToken: number
  readonly stallSecondsPerToken: number
}

export interface GuessResult {
  readonly predictor: string
  readonly action: GuessAction
  /** With the shipped policy and without guesses, less with them: above 0 is a gain. */
  readonly savedSecondsPerToken: number
  readonly stallSecondsPerToken: number
  /** Read on guesses, and those of them that nobody used. */
  readonly guessedBytesPerToken: number
  readonly wastedBytesPerToken: number
}

export interface BudgetResult {
  /** Of the whole engine; 0 where the trace does not know what the rest of the model needs. */
  readonly budgetBytes: number
  readonly slots: number
  readonly policies: readonly PolicyResult[]
  readonly guesses: readonly GuessResult[]
}

/** Misses of all requests, by number of slots. */
export interface CurvePoint {
  readonly budgetBytes: number
  readonly slots: number
  readonly recency: number
  readonly shipped: number
  readonly belady: number
}

export interface Simulation {
  readonly experts: number
  /** Positions that were decoded one by one, and sweeps over more than one. */
  readonly tokens: number
  readonly prefillSweeps: number
  readonly computeSecondsPerToken: number
  readonly shippedPolicy: string
  readonly budgets: readonly BudgetResult[]
  readonly predictors: readonly { readonly name: string; readonly judgement: Judgement }[]
  readonly curve: readonly CurvePoint[]
}

const [shipped] = evictionPolicies.keys()
const curvePoints = 10

/** Errors: ERR_HYPURA_INVALID_ARGUMENT for memory below two slots and for names that are not known. */
export function simulate(trace: Trace, options: SimulateOptions): Simulation {
  const { drive, planEvery, admission } = options
  const layout = layoutOf(trace)
  const requests = requestsOf(trace)
  const { count } = layout.experts
  const asked = requests.reduce((sum, { length }) => sum + length, 0)
  const budgetOf = (slots: number): number => (trace.model.besideBytes === 0 ? 0 : trace.model.besideBytes + slots * layout.slotBytes)
  const policyPool = (name: string, slots: number): SimulatedPool => {
    const offline = offlinePolicies.get(name)
    if (offline !== undefined) return offlinePool(offline.create(slots, requests))
    return scoredPool({ layout, slots, policy: evictionPolicy(name), drive, planEvery, admission })
  }
  const run = (pool: SimulatedPool, predictor?: Predictor, action?: GuessAction): Replay =>
    replay({ trace, layout, pool, drive, planEvery, ...(predictor === undefined ? {} : { predictor, action: action! }) })
  const predictorOf = (name: string): Predictor => {
    if (name === 'oracle') return oracle(choicesOf(trace, layout))
    return predictorKind(name, ['oracle']).create({ layers: layout.layers, ...layout.spec })
  }

  const budgets = options.memory.map((memory): BudgetResult => {
    const slots = slotsOf(memory, trace, layout)
    const runs = new Map([...evictionPolicies.keys(), ...offlinePolicies.keys()].map((name) => [name, run(policyPool(name, slots))]))
    const best = runs.get('belady')!
    const base = runs.get(shipped!)!
    const guesses = options.predictors.flatMap((predictor) => (['retain', 'prefetch'] as const).map((action): GuessResult => {
      const result = run(policyPool(shipped!, slots), predictorOf(predictor), action)
      const { readBytes, usedBytes } = result.guesses!
      return {
        predictor, action,
        savedSecondsPerToken: perToken(base.stallSeconds - result.stallSeconds, result),
        stallSecondsPerToken: perToken(result.stallSeconds, result),
        guessedBytesPerToken: perToken(readBytes, result),
        wastedBytesPerToken: perToken(readBytes - usedBytes, result),
      }
    }))
    const policies = [...runs].map(([name, result]): PolicyResult => ({
      name, canRun: evictionPolicies.has(name),
      hitRate: ratio(result.allHits, result.allRequests),
      shareOfBelady: ratio(result.allHits, best.allHits),
      bytesPerToken: perToken(result.demandBytes, result),
      stallSecondsPerToken: perToken(result.stallSeconds, result),
    }))
    return { budgetBytes: budgetOf(slots), slots, policies, guesses }
  })

  const recency = missesOfRecency(requests, count)
  const curve = Array.from({ length: curvePoints }, (_, i) => Math.max(2, Math.round((count * (i + 1)) / curvePoints))).map((slots): CurvePoint => ({
    budgetBytes: budgetOf(slots), slots,
    recency: ratio(recency[slots]!, asked),
    shipped: missRatio(run(policyPool(shipped!, slots))),
    belady: missRatio(run(policyPool('belady', slots))),
  }))
  const tokens = Array.from({ length: trace.sweeps }, (_, sweep) => sweep).filter((sweep) => trace.positions(sweep) === 1)
  const computeSeconds = tokens.reduce((sum, sweep) => sum + trace.computeMicroseconds(sweep) / 1e6, 0)
  return {
    experts: count, tokens: tokens.length, prefillSweeps: trace.sweeps - tokens.length, computeSecondsPerToken: ratio(computeSeconds, tokens.length),
    shippedPolicy: shipped!, budgets, curve,
    predictors: options.predictors.map((name) => ({ name, judgement: judgePredictor(trace, predictorOf(name)) })),
  }
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)
const perToken = (sum: number, { tokens }: Replay): number => ratio(sum, tokens)
const missRatio = ({ allHits, allRequests }: Replay): number => ratio(allRequests - allHits, allRequests)

function slotsOf(memory: SimulatedMemory, { model: { besideBytes } }: Trace, { experts: { count }, slotBytes }: Layout): number {
  const wanted = memory.kind === 'share' ? Math.floor(count * memory.share) : Math.floor((memory.bytes - besideBytes) / slotBytes)
  if (wanted < 2) {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `that memory leaves room for ${Math.max(0, wanted)} experts; a pool has at least 2${besideBytes === 0 ? '' : `, a budget of ${formatSize(besideBytes + 2 * slotBytes)}`}`, { field: 'memory', allowed: besideBytes + 2 * slotBytes })
  }
  return Math.min(wanted, count)
}

/** What a predictor is asked about, in order. */
export function* choicesOf(trace: Trace, { layers }: Layout): Generator<ArrayLike<number>> {
  for (let sweep = 0; sweep < trace.sweeps; sweep++) {
    if (trace.positions(sweep) > 1) continue
    for (let layer = 0; layer < layers; layer++) yield trace.experts(sweep, layer)
  }
}
