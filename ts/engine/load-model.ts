/** From a path to a model that answers: describe, plan, encode, load, first plan. */
import { loadBinding } from '../native/load-binding.js'
import type { NativeEngine } from '../native/native-binding.js'
import { encodeLoad } from './codec/load.js'
import { mixtureHabits } from './expert-habits.js'
import { describeModel, type ModelDescription } from './model-description.js'
import { Model } from './model.js'
import { awaitNative, callNative } from './native-errors.js'
import { findCopies } from './model-copies.js'
import { counters } from './model-stats.js'
import { checkLoadOptions, type LoadOptions } from './options.js'
import { type ModelPlan, planDescribed } from './plan-model.js'
import { planBefore, plannerBasis } from './planner-host.js'

const progressMs = 100

/**
 * Opens a GGUF file (the first part of a split one is enough), places what the budget holds and reads it in.
 *
 * Errors: those of planModel(); ERR_HYPURA_MIRROR_MISMATCH with path and byte of the first difference; ERR_HYPURA_IO and ERR_HYPURA_MODEL_CHANGED while reading; the signal's reason when aborted.
 */
export async function loadModel(path: string, options: LoadOptions = {}): Promise<Model> {
  const checked = checkLoadOptions(options)
  checked.loadSignal?.throwIfAborted()
  const description = await describeModel(path, checked)
  checked.loadSignal?.throwIfAborted()
  return loadDescribed(description, checked)
}

async function loadDescribed(description: ModelDescription, options: LoadOptions): Promise<Model> {
  const { manifest } = description
  const binding = loadBinding()
  const habits = await mixtureHabits(description, options.guess !== 'off')
  const copies = await findCopies(description, options.mirrors)
  const plan = planDescribed(description, options, copies)
  const paths = copies.files.map((file) => file.path)
  const load = encodeLoad(manifest, manifest.spec, copies.files, plan.regions, { count: copies.paths.length, driveBytesPerSecond: copies.drives.map(() => 0) })
  options.loadSignal?.throwIfAborted() // the header was read meanwhile
  const engine = callNative(() => binding.createEngine(load, {
    threads: options.threads ?? 0,
    io: options.io?.backend ?? 'auto',
    ioDepth: options.io?.depth ?? 0,
    ...(options.faults === undefined ? {} : { faults: options.faults }),
    ...(habits?.use.before === undefined || plan.regions.poolSlots === 0 ? {} : { plan: planBefore(plannerBasis(description, plan, options), habits.use.before) }),
  }), paths)
  const abort = (): void => void engine.close()
  options.loadSignal?.addEventListener('abort', abort, { once: true })
  const progress = new ProgressReports(engine, plan, options.onLoadProgress)
  try {
    const facts = await awaitNative(engine.opened(), paths)
    options.loadSignal?.throwIfAborted()
    progress.last()
    return new Model({ description, plan, copies, engine, facts, paths, options, habits })
  } catch (error) {
    await engine.close()
    options.loadSignal?.throwIfAborted()
    progress.rethrow()
    throw error
  } finally {
    progress.end()
    options.loadSignal?.removeEventListener('abort', abort)
  }
}

/** Tells the caller how far the load is, the end included. A callback that throws ends the load with what it threw. */
class ProgressReports {
  readonly #engine: NativeEngine
  readonly #plan: ModelPlan
  readonly #tell: LoadOptions['onLoadProgress']
  readonly #timer: NodeJS.Timeout | undefined
  #fraction = 0
  #thrown: { readonly error: unknown } | undefined

  constructor(engine: NativeEngine, plan: ModelPlan, tell: LoadOptions['onLoadProgress']) {
    this.#engine = engine
    this.#plan = plan
    this.#tell = tell
    if (tell !== undefined) this.#timer = setInterval(() => this.#report(), progressMs)
  }

  last(): void {
    this.#report()
    this.rethrow()
  }

  rethrow(): void {
    if (this.#thrown !== undefined) throw this.#thrown.error
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #report(): void {
    const { loadBytes, loadBytesTotal, compareBytes, compareBytesTotal } = counters(this.#engine)
    // What loading will read is known when comparing is over; the plan knows it nearly.
    const isComparing = compareBytesTotal > 0 && loadBytesTotal === 0
    const bytes = compareBytes + loadBytes
    const totalBytes = compareBytesTotal + (isComparing ? this.#plan.residentBytes : loadBytesTotal)
    this.#fraction = Math.max(this.#fraction, totalBytes === 0 ? 0 : bytes / totalBytes)
    try {
      this.#tell?.({ phase: isComparing ? 'compare' : 'load', bytes, totalBytes, fraction: this.#fraction })
    } catch (error) {
      this.#thrown ??= { error }
      this.end()
      void this.#engine.close()
    }
  }
}
