/** `--stats-file`: one JSON line per run, appended, for scripts that compare runs. */
import { appendFile } from 'node:fs/promises'
import { type CopyShare, type GenerationResult, HypuraError, type Model, type ModelStats, type ProcessStats } from '../ts/engine/index.js'
import { actingSource } from './acting-source.js'

export interface RunStats {
  readonly model: string
  readonly mode: string
  readonly memory_bytes: number
  readonly kv_type: string
  /** Peak of the whole process, by the operating system. */
  readonly peak_bytes: number
  readonly tokens: number
  readonly prompt_tokens: number
  readonly ttft_ms: number
  readonly decode_tok_s: number
  readonly bytes_read: number
  readonly os_bytes_read: number | null
  readonly bytes_written: number | null
  readonly hit_rate: number
  readonly stall_ms: number
  /** Whose guesses of experts were read ahead at the end, 'off' for nobody's; null where nothing is guessed: dense, or all in memory. */
  readonly guesses: string | null
  /** Of each copy of the model; absent where there is one. */
  readonly copies?: readonly { readonly path: string; readonly bytes_read: number }[]
}

/** `before` and `after` frame the run, loading left out. */
export function runStats(path: string, model: Model, result: GenerationResult, before: Snapshot, after: Snapshot): RunStats {
  const hits = after.engine.hits - before.engine.hits
  const misses = after.engine.misses - before.engine.misses
  return {
    model: path,
    mode: model.plan.mode,
    memory_bytes: model.plan.budgetBytes,
    kv_type: model.plan.regions.kvType,
    peak_bytes: after.process.peakResidentBytes,
    tokens: result.usage.completionTokens,
    prompt_tokens: result.usage.promptTokens,
    ttft_ms: rounded(result.timings.timeToFirstTokenMs),
    decode_tok_s: rounded(result.timings.decodeTokensPerSecond),
    bytes_read: after.engine.readBytes - before.engine.readBytes,
    os_bytes_read: difference(after.process.readBytes, before.process.readBytes),
    bytes_written: difference(after.process.writtenBytes, before.process.writtenBytes),
    hit_rate: hits + misses === 0 ? 1 : rounded(hits / (hits + misses)),
    stall_ms: rounded((after.engine.stallNs - before.engine.stallNs) / 1e6),
    guesses: model.description.spec.nExpert === 0 || model.plan.mode !== 'stream' ? null : actingSource(model.guesses),
    ...(after.copies.length === 1 ? {} : { copies: after.copies.map(({ path, bytes }, i) => ({ path, bytes_read: bytes - before.copies[i]!.bytes })) }),
  }
}

export interface Snapshot {
  readonly engine: ModelStats
  readonly process: ProcessStats
  readonly copies: readonly CopyShare[]
}

/** Finds out before hours of work that the file cannot be written; leaves an empty one where there was none. */
export async function requireAppendable(file: string | undefined): Promise<void> {
  if (file !== undefined) await append(file, '')
}

export async function appendStats(file: string, stats: RunStats): Promise<void> {
  await append(file, `${JSON.stringify(stats)}\n`)
}

async function append(file: string, text: string): Promise<void> {
  try {
    await appendFile(file, text)
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `--stats-file: cannot append to ${file}: ${(error as Error).message}`, { path: file }, { cause: error })
  }
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4
const difference = (after: number | undefined, before: number | undefined): number | null => (after === undefined || before === undefined ? null : after - before)
