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
import type { DriveCost } from '../prefetch/cost-model.js'
import type { GuessMode } from '../prefetch/plan.js'
import type { RegionSizes } from '../prefetch/region-sizes.js'
import { eventWords } from './codec/events.js'
import { callNative } from './native-errors.js'

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
}

/** Down: one batch of event records, `count` of them in `events`, and how the memory is divided now. */
export interface EventsMessage {
  readonly regions: PlannerSetup['regions']
  readonly events: Uint32Array<ArrayBuffer>
  readonly count: number
}
/** Up: the encoded plan, and the batch's buffer to be used again. */
export interface PlanMessage {
  readonly plan: ArrayBuffer
  readonly events: Uint32Array<ArrayBuffer>
}

const batchRecords = 16_384
const intervalMs = 500

export class PlannerHost {
  readonly #engine: NativeEngine
  readonly #worker: Worker
  readonly #onWarning: (text: string) => void
  #regions: PlannerSetup['regions']
  #timer: NodeJS.Timeout | undefined
  #free: Uint32Array<ArrayBuffer> | undefined = new Uint32Array(batchRecords * eventWords)
  #plans = 0
  #closed = false

  constructor(engine: NativeEngine, setup: PlannerSetup, onWarning: (text: string) => void) {
    this.#engine = engine
    this.#onWarning = onWarning
    this.#regions = setup.regions
    this.#worker = new Worker(new URL('./planner-worker.js', import.meta.url), { workerData: setup, name: 'hypura planner' })
    this.#worker.unref()
    this.#worker.on('message', (message: PlanMessage) => this.#onPlan(message))
    this.#worker.on('error', (error: unknown) => this.#stop(`the planner stopped (${String(error)}); the last plan stays in force`))
  }

  /** Events come only while sequences work: the timer rests otherwise. */
  setActive(active: boolean): void {
    if (this.#closed) return
    clearInterval(this.#timer)
    this.#timer = active ? setInterval(() => this.#sendEvents(), intervalMs) : undefined
    this.#timer?.unref()
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

  async close(): Promise<void> {
    this.#stop(undefined)
    await this.#worker.terminate()
  }

  #sendEvents(): void {
    const events = this.#free
    if (events === undefined || this.#closed) return
    const count = this.#engine.drainEvents(events)
    if (count === 0) return
    this.#free = undefined
    this.#worker.postMessage({ regions: this.#regions, events, count } satisfies EventsMessage, [events.buffer])
  }

  #onPlan({ plan, events }: PlanMessage): void {
    this.#free = events
    if (this.#closed) return
    try {
      callNative(() => this.#engine.submitPlan(plan))
      this.#plans++
    } catch (error) {
      if (!(error instanceof HypuraError) || error.code === 'ERR_HYPURA_DISPOSED') return
      this.#stop(`a plan was refused (${error.message}); the last one stays in force`)
    }
  }

  #stop(warning: string | undefined): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    if (!this.#closed && warning !== undefined) this.#onWarning(warning)
    this.#closed = true
  }
}
