/** From flags to a protocol, and to a budget that stays the same in every session. */
import { type GuessSource, HypuraError, type KvType, type LoadOptions, type ModelDescription, type ModelPlan, planModel } from '../../ts/engine/index.js'
import { probeMemoryBytes } from './drive-probe.js'
import { contextOf, type Protocol, type Test } from './tests.js'

export interface BenchFlags {
  readonly nPrompt: readonly number[]
  readonly nGen: readonly number[]
  readonly nDepth: number
  readonly repetitions: number
  readonly warmup?: number
  readonly memory: string
  readonly mode: NonNullable<LoadOptions['mode']>
  readonly kvType?: KvType
  readonly batchSize?: number
  readonly threads?: number
  readonly io: 'auto' | 'uring' | 'pread' | 'buffered'
  readonly ioDepth?: number
  readonly eviction?: 'cost-aware' | 'frequency' | 'recency'
  readonly guess?: 'auto' | 'off' | 'shadow' | 'retain' | 'prefetch'
  readonly guessSource?: 'auto' | GuessSource
  readonly tokenizerPre?: string
  readonly seed: number
  readonly checkResident: boolean
  readonly baseline?: string | true
  readonly tbw?: number
  readonly output: 'human' | 'json' | 'md' | 'csv'
  readonly outFile?: string
  readonly dryRun?: boolean
}

export interface Prepared {
  readonly protocol: Protocol
  readonly load: LoadOptions
  readonly plan: ModelPlan
}

const warmupDefault = 8
/** Streamed mixtures: so that the pool holds what is used, not what came first. */
const warmupOfPool = 64

/** Errors: ERR_HYPURA_USAGE when there is nothing to measure; those of planModel(). */
export async function prepare(path: string, flags: BenchFlags, { spec }: ModelDescription): Promise<Prepared> {
  const tests: Test[] = [
    ...flags.nPrompt.map((tokens) => ({ kind: 'pp' as const, tokens })),
    ...flags.nGen.map((tokens) => ({ kind: 'tg' as const, tokens })),
  ].filter(({ tokens }) => tokens > 0)
  if (tests.length === 0) throw new HypuraError('ERR_HYPURA_USAGE', 'there is nothing to measure: give prompt tests (-p 512), generation tests (-n 128), or both')
  const protocol: Protocol = { path, tests, depth: flags.nDepth, repetitions: flags.repetitions, seed: flags.seed, warmupTokens: flags.warmup ?? (spec.nExpert > 0 && flags.mode !== 'resident' ? warmupOfPool : warmupDefault) }
  const contextLength = contextOf(protocol)
  const wanted: LoadOptions = {
    memory: flags.memory,
    mode: flags.mode,
    contextLength,
    kvType: flags.kvType,
    batchSize: flags.batchSize,
    threads: flags.threads,
    io: { backend: flags.io, depth: flags.ioDepth },
    eviction: flags.eviction,
    guess: flags.guess,
    guessSource: flags.guessSource,
    tokenizerPre: flags.tokenizerPre,
  }
  const plan = await planModel(path, wanted)
  const isOwn = plan.budgetSource === '--memory'
  // One number for all sessions: "auto" would see another amount free each time. The drive is measured beside the engine.
  const memory = isOwn || plan.mode === 'resident' ? plan.budgetBytes : Math.max(plan.floor.total, plan.budgetBytes - probeMemoryBytes(plan, wanted))
  return { protocol, load: { ...wanted, memory }, plan: isOwn ? plan : await planModel(path, { ...wanted, memory }) }
}
