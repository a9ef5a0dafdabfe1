/**
 * Between a running engine and its planner: events go to a worker thread in batches, plans come back and are submitted.
 *
 * One batch and one plan are outstanding at most, so a busy host or a slow planner costs freshness, never a token: the
 * engine goes on with the plan it has.
 */
import { Worker } from 'node:worker_threads'
import { HypuraError } from '../base/errors.js'
import type { BlockManifest } from '../manifest/block-manifest.js'
import type { NativeEngine } from '../native/native-binding.js'
import { accessStats, type ExpertUse } from '../prefetch/access-stats.js'
import type { DriveCost } from '../prefetch/cost-model.js'
import { evictionPolicy } from '../prefetch/eviction/index.js'
import type { SourceScore } from '../prefetch/guess-score.js'
import type { Arm, GuessSource } from '../prefetch/guess-trials.js'
import type { GuessMode } from '../prefetch/plan.js'
import { planResidency } from '../prefetch/planner.js'
import type { SavedCounts } from '../prefetch/predictors/saved-counts.js'
import type { RegionSizes } from '../prefetch/region-sizes.js'
import { eventWords } from './codec/events.js'
import { encodePlan } from './codec/plan.js'
import type { ModelDescription } from './model-description.js'
import { callNative } from './native-errors.js'
import type { LoadOptions } from './options.js'
import type { ModelPlan } from './plan-model.js'

/** `auto`: while it pays in wall time (ts/prefetch/guess-trials.ts); else always that. */
export type GuessPolicy = 'auto' | GuessMode

/** What the worker is made with. */
export interface PlannerSetup {
  readonly manifest: BlockManifest
  readonly regions: Pick<RegionSizes, 'pinCount' | 'poolSlots'>
  /** Name of an eviction policy. */
  readonly eviction: string
  readonly drive: DriveCost
  readonly guess: GuessPolicy
  /** Whose guesses; `auto`: the router's and the best predictor's take part in trials. */
  readonly guessSource: 'auto' | GuessSource
  /** What earlier runs of this model learnt; the engine was loaded with planBefore() of its use. */
  readonly before: Learnt
}

/** Of sequences that name no client. */
export interface Learnt {
  readonly use: ExpertUse | undefined
  readonly relations: SavedCounts | undefined
}

/** Down: one batch of event records, `count` of them in `events`, and how the memory is divided now. */
export interface EventsMessage {
  readonly regions: PlannerSetup['regions']
  readonly events: Uint32Array<ArrayBuffer>
  readonly count: number
  /** Nothing follows: what was learnt is asked for. */
  readonly isLast: boolean
}
/** Up: the encoded plan, the batch's buffer to be used again, how long the planner took, and what is known of the experts by nobody's sequences. */
export interface PlanMessage {
  readonly plan: ArrayBuffer
  readonly events: Uint32Array<ArrayBuffer>
  readonly milliseconds: number
  /** Undefined while there is nothing new. */
  readonly use: ExpertUse | undefined
  readonly guesses: GuessReport
  /** After the last batch, where something was learnt. */
  readonly relations: SavedCounts | undefined
  readonly isLast: boolean
}

/** What is known of guesses of the next layer's experts, and what is done with them. */
export interface GuessReport {
  /** Of the plan that was sent last. */
  readonly mode: GuessMode
  /** By whose guesses, where there are any: the next layer's router, or a predictor's table. */
  readonly source: GuessSource
  /** What the last trial came to, in mode 'auto'; undefined before the first one ended. */
  readonly decided: Arm | undefined
  /** The native look-ahead ('router') and each predictor that learns, over the last few hundred tokens. */
  readonly scores: readonly SourceScore[]
  /** Tokens that predictors have learnt from, and those left out because time was up. */
  readonly learnt: number
  readonly skipped: number
  /** Time of the planner since load, and the part of it that learning and scoring took. */
  readonly plannerMs: number
  readonly learningMs: number
}

/** Of the run before; the worker counts on from here. */
const firstPlanNumber = 1
const batchRecords = 16_384
/**
 * Between two batches: so long that the planner takes a twentieth of one core, in these bounds. Small models choose a thousand times per
 * second and are planned in a millisecond; large ones take their time for both.
 */
const intervalMs = { least: 20, most: 500, perPlannerMs: 20 } as const
/** A closing model waits at most so long for the planner to learn from the last events. */
const lastPlanMs = 2000

export class PlannerHost {
  readonly #engine: NativeEngine
  readonly #worker: Worker
  readonly #onWarning: (text: string) => void
  #regions: PlannerSetup['regions']
  #timer: NodeJS.Timeout | undefined
  #free: Uint32Array<ArrayBuffer> | undefined = new Uint32Array(batchRecords * eventWords)
  #plans = 0
  #answers = 0
  #interval: number = intervalMs.least
  #active = false
  #use: ExpertUse | undefined
  #relations: SavedCounts | undefined
  #ending: 'no' | 'asked' | 'answered' = 'no'
  #guesses: GuessReport | undefined
  #onSettled: (() => void) | undefined
  #closed = false

  constructor(engine: NativeEngine, setup: PlannerSetup, onWarning: (text: string) => void) {
    this.#engine = engine
    this.#onWarning = onWarning
    this.#regions = setup.regions
    this.#worker = new Worker(new URL('./planner-worker.js', import.meta.url), { workerData: setup, name: 'hypura planner' })
    this.#worker.unref()
    this.#worker.on('message', (message: PlanMessage) => this.#onPlan(message))
    if (setup.before.use !== undefined) this.#plans = firstPlanNumber // loading began with it
    this.#worker.on('error', (error: unknown) => this.#stop(`the planner stopped (${String(error)}); the last plan stays in force`))
  }

  /** Events come only while sequences work: the timer rests otherwise. */
  setActive(active: boolean): void {
    if (this.#closed) return
    this.#active = active
    this.#schedule()
    if (!active) this.#sendEvents()
  }

  /** From the next plan on. One that is on its way is clamped by the engine. */
  setRegions({ pinCount, poolSlots }: PlannerSetup['regions']): void {
    this.#regions = { pinCount, poolSlots }
  }

  /** Plans accepted by the engine. */
  get plans(): number {
    return this.#plans
  }

  /** As of the last plan; undefined before the first. */
  get guesses(): GuessReport | undefined {
    return this.#guesses
  }

  /** No sequence works any more. Returns what was learnt, of all events where the planner answers in time. */
  async close(): Promise<Learnt> {
    this.#active = false
    this.#ending = 'asked'
    clearTimeout(this.#timer)
    let late = false
    // The worker alone would not keep the process: this timer does, until it answers.
    const timer = setTimeout(() => {
      late = true
      this.#onSettled?.()
    }, lastPlanMs)
    // A batch on its way was cut before the last events, and the last one may not hold them all.
    for (this.#sendEvents(); this.#ending === 'asked' && this.#free === undefined && !this.#closed && !late; this.#sendEvents()) {
      await new Promise<void>((resolve) => (this.#onSettled = resolve))
    }
    clearTimeout(timer)
    this.#stop(undefined)
    await this.#worker.terminate()
    return { use: this.#use, relations: this.#relations }
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    this.#timer = this.#active ? setTimeout(() => this.#sendEvents(), this.#interval) : undefined
    this.#timer?.unref()
  }

  #sendEvents(): void {
    const events = this.#free
    if (events === undefined || this.#closed || this.#ending === 'answered') return
    const count = this.#engine.drainEvents(events)
    const isLast = this.#ending === 'asked' && count < batchRecords
    // A planner that was never asked has learnt nothing.
    if (count === 0 && (!isLast || this.#answers === 0)) return this.#schedule()
    this.#free = undefined
    this.#worker.postMessage({ regions: this.#regions, events, count, isLast } satisfies EventsMessage, [events.buffer])
  }

  #onPlan({ plan, events, milliseconds, use, guesses, relations, isLast }: PlanMessage): void {
    this.#free = events
    this.#use = use
    this.#guesses = guesses
    this.#relations = relations
    if (isLast) this.#ending = 'answered'
    // The first plans are slow because their code is not compiled yet, which says nothing of those that follow.
    if (++this.#answers > 2) this.#interval = Math.min(intervalMs.most, Math.max(intervalMs.least, milliseconds * intervalMs.perPlannerMs))
    if (this.#closed) return
    this.#submit(plan)
    this.#schedule()
    this.#onSettled?.()
  }

  #submit(plan: ArrayBuffer): void {
    try {
      callNative(() => this.#engine.submitPlan(plan))
      this.#plans++
    } catch (error) {
      if (!(error instanceof HypuraError) || error.code === 'ERR_HYPURA_DISPOSED') return
      this.#stop(`a plan was refused (${error.message}); the last one stays in force`)
    }
  }

  #stop(warning: string | undefined): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#onSettled?.()
    if (!this.#closed && warning !== undefined) this.#onWarning(warning)
    this.#closed = true
  }
}

/** How this model's memory is planned. */
export function plannerBasis({ manifest }: Pick<ModelDescription, 'manifest'>, { drive, regions: { pinCount, poolSlots } }: Pick<ModelPlan, 'drive' | 'regions'>, { eviction = 'cost-aware' }: LoadOptions): Pick<PlannerSetup, 'manifest' | 'regions' | 'eviction' | 'drive'> {
  return { manifest, regions: { pinCount, poolSlots }, eviction, drive: drive.cost }
}

/** What loading begins with, of what an earlier run learnt: its hot list is read in the load phase. */
export function planBefore({ manifest, regions, eviction, drive }: Pick<PlannerSetup, 'manifest' | 'regions' | 'eviction' | 'drive'>, before: ExpertUse): ArrayBuffer {
  const plan = planResidency({ manifest, regions, policy: evictionPolicy(eviction), drive, stats: accessStats(manifest, before), sequenceNumber: firstPlanNumber })
  return encodePlan(plan, manifest.blocks.count)
}
