/** From an unloaded model to a closed one: cold start, warm-up, then whatever is measured while it is loaded. */
import { cgroupMemory, type Drive, type EngineFacts, type GuessReport, loadModel, type LoadOptions, type Model, type ModelPlan, processStats } from '../../ts/engine/index.js'
import { counted, type Counted, readsAtRest, snapshot } from './counters.js'
import { dropPages, type Dropped } from './page-cache.js'
import type { Prompts } from './prompts.js'
import { type Bench, greedy } from './repetition.js'
import { leadTokens, type Protocol } from './tests.js'

export interface Cold {
  readonly pages: Dropped
  readonly loadMs: number
  readonly loadBytes: number
  readonly osLoadBytes: number | null
  /** From the request to the first token, a prompt of `promptTokens` before it. */
  readonly firstTokenMs: number
  readonly promptTokens: number
}

export interface Warmup {
  readonly tokens: number
  readonly counted: Counted
}

/** Highest so far, since the process or the group began. Of the root group, which is the whole machine, nothing is said. */
export interface Peaks {
  readonly processBytes: number
  readonly groupBytes: number | null
}

export interface SessionFacts {
  readonly plan: ModelPlan
  readonly engine: EngineFacts
  readonly cold: Cold
  readonly warmup: Warmup
  readonly warnings: readonly string[]
  readonly peaks: Peaks
  /** Of the end; undefined where nothing is guessed. */
  readonly guesses: GuessReport | undefined
}

export interface SessionOptions {
  readonly protocol: Protocol
  readonly load: LoadOptions
  readonly prompts: Prompts
  readonly paths: readonly string[]
  readonly drive: Drive
  readonly signal: AbortSignal
  readonly onLoad?: LoadOptions['onLoadProgress']
  readonly onTokens?: Bench['onTokens']
}

/** Loads, warms up, lets `work` measure, closes. Errors: those of loadModel() and generate(), and those of `work`. */
export async function withSession(options: SessionOptions, work: (bench: Bench, model: Model) => Promise<void>): Promise<SessionFacts> {
  const { protocol, load, paths, drive, signal } = options
  const pages = dropPages(paths)
  const before = processStats()
  const began = performance.now()
  // Not elastic: a budget that moved while it was measured would make the rounds incomparable.
  await using model = await loadModel(protocol.path, { ...load, elastic: false, loadSignal: signal, onLoadProgress: options.onLoad })
  const loadMs = performance.now() - began
  const loaded = processStats()
  await using sequence = model.createSequence()
  const bench: Bench = { model, sequence, drive, signal, prompts: options.prompts, onTokens: options.onTokens }
  const { firstTokenMs, warmup } = await warmUp(bench, protocol)
  await work(bench, model)
  return {
    plan: model.plan,
    engine: model.facts,
    cold: {
      pages, loadMs, firstTokenMs,
      loadBytes: model.stats().loadBytes,
      osLoadBytes: loaded.readBytes === undefined || before.readBytes === undefined ? null : loaded.readBytes - before.readBytes,
      promptTokens: leadTokens,
    },
    warmup,
    warnings: [...model.warnings],
    peaks: peaks(),
    guesses: model.guesses,
  }
}

/** The first token of the process, and the untimed ones behind it. */
async function warmUp({ model, sequence, prompts, signal, drive }: Bench, { warmupTokens }: Protocol): Promise<{ firstTokenMs: number; warmup: Warmup }> {
  const begin = snapshot(model, drive)
  await sequence.generate(prompts.tokens(0, leadTokens), { ...greedy, maxTokens: 1, signal })
  const first = snapshot(model, drive)
  if (warmupTokens > 0) await sequence.generate([], { ...greedy, maxTokens: warmupTokens, signal })
  const end = snapshot(model, drive)
  await readsAtRest(model)
  return { firstTokenMs: first.atMs - begin.atMs, warmup: { tokens: warmupTokens, counted: counted(first, end) } }
}

export function peaks(): Peaks {
  const group = cgroupMemory()
  return { processBytes: processStats().peakResidentBytes, groupBytes: 'usageBytes' in group && group.path !== '/' ? group.peakBytes ?? null : null }
}
