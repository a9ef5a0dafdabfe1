/**
 * Records what the routers of a running model choose: drains the engine's events, counts those that were lost, and writes the
 * sweeps that are whole (docs/formats/trace.md).
 *
 * While it runs it is the one consumer of the events, so the planner rests and the plan in force stays.
 */
import type { NativeEngine } from '../native/native-binding.js'
import { routeCollector, type RouteCollector } from '../trace/route-collector.js'
import type { TraceModel } from '../trace/trace.js'
import { traceWriter, type TraceWriter } from '../trace/trace-writer.js'
import { decodeEvents, eventWords } from './codec/events.js'
import { counters } from './model-stats.js'

export interface RecordingSummary {
  /** Sweeps written. */
  readonly sweeps: number
  /** Event records that nobody drained in time. */
  readonly lostEvents: number
  /** Sweeps that are not in the trace: not whole, not finished, or beyond the largest trace. */
  readonly skippedSweeps: number
}

/** The ring holds 65,536 records (kEventRingRecords): a batch of this size leaves room while it is looked at. */
const batchRecords = 16_384
/** A tenth of what fills the ring at 1,000 tokens per second and 600 records each. */
const intervalMs = 10

export class RouteRecording {
  readonly #engine: NativeEngine
  readonly #writer: TraceWriter
  readonly #collector: RouteCollector
  readonly #onEnd: () => void
  readonly #words = new Uint32Array(batchRecords * eventWords)
  readonly #droppedBefore: number
  #dropped: number
  readonly #timer: NodeJS.Timeout
  #failure: { readonly error: unknown } | undefined
  #summary: RecordingSummary | undefined

  constructor(engine: NativeEngine, model: TraceModel, write: (bytes: Uint8Array) => void, onEnd: () => void) {
    this.#engine = engine
    this.#onEnd = onEnd
    while (engine.drainEvents(this.#words) > 0); // of what ran before
    this.#droppedBefore = this.#dropped = counters(engine).eventsDropped
    this.#writer = traceWriter(model, write)
    this.#collector = routeCollector(model, this.#writer)
    this.#timer = setInterval(() => this.#drain(), intervalMs)
    this.#timer.unref()
  }

  /** Drains what is left and writes the end. Call when no sequence works any more. Throws what `write` threw. */
  end(): RecordingSummary {
    if (this.#summary !== undefined) return this.#summary
    this.#drain()
    this.#stop()
    if (this.#failure !== undefined) throw this.#failure.error
    this.#collector.end()
    const lostEvents = this.#dropped - this.#droppedBefore
    this.#writer.end(lostEvents)
    return (this.#summary = { sweeps: this.#writer.sweeps, lostEvents, skippedSweeps: this.#writer.skippedSweeps })
  }

  /** Without an end: what was written is no whole trace. */
  abandon(): void {
    if (this.#summary === undefined) this.#stop()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#onEnd()
  }

  #drain(): void {
    try {
      while (this.#failure === undefined) {
        const count = this.#engine.drainEvents(this.#words)
        // After the batch: what it holds was pushed before this number was read.
        const { eventsDropped } = counters(this.#engine)
        const lossy = eventsDropped !== this.#dropped
        this.#dropped = eventsDropped
        this.#collector.observe(decodeEvents(this.#words, count), lossy)
        if (count < batchRecords) return
      }
    } catch (error) {
      this.#failure = { error }
      clearInterval(this.#timer)
    }
  }
}
