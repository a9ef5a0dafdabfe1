/** One answer on the terminal: prefill progress, text on stdout as it comes, and the footer's figures. */
import { type Generation, type GenerationResult, type Model, processStats } from '../ts/engine/index.js'
import { bytes, duration, percent, rate } from './format.js'
import { write } from './output.js'
import { runStats, type RunStats, type Snapshot } from './stats-file.js'
import { note, printable, progressLine, warn } from './terminal.js'

export interface Answer {
  readonly result: GenerationResult
  readonly stats: RunStats
}

/** Prompts shorter than this are over before a bar helps. */
const progressTokensMin = 64

export async function showAnswer(path: string, model: Model, generate: () => Generation): Promise<Answer> {
  const before = snapshot(model)
  const warnedOf = model.warnings.length
  const bar = progressLine('reading the prompt')
  const clean = process.stdout.isTTY === true ? printable : (text: string): string => text
  let result: GenerationResult | undefined
  try {
    for await (const chunk of generate()) {
      if (chunk.type === 'prompt-progress') {
        if (chunk.total >= progressTokensMin) bar.update(chunk.processed / chunk.total, `${chunk.processed} of ${chunk.total} tokens`)
      } else if (chunk.type === 'text') {
        bar.clear()
        await write(clean(chunk.text))
      } else {
        result = chunk.result
      }
    }
  } finally {
    bar.clear()
  }
  for (const text of model.warnings.slice(warnedOf)) warn(text)
  return { result: result!, stats: runStats(path, model, result!, before, snapshot(model)) }
}

export function showFooter({ result, stats }: Answer, model: Model): void {
  const seconds = (result.timings.prefillMs + result.timings.decodeMs) / 1000
  const sweeps = Math.max(1, result.usage.completionTokens)
  // What a mapped file reads only the system knows, and a hit there means nothing.
  const mapped = stats.mode === 'mmap'
  const read = mapped ? stats.os_bytes_read ?? 0 : stats.bytes_read
  const share = seconds > 0 ? stats.stall_ms / 1000 / seconds : 0
  note(`[${[
    `${result.usage.completionTokens} tok`,
    `${rate(stats.decode_tok_s)} tok/s`,
    `ttft ${duration(stats.ttft_ms)}`,
    stats.mode,
    `budget ${bytes(model.plan.budgetBytes)}`,
    ...(mapped ? [] : [`hit ${percent(stats.hit_rate)}`]),
    `${(read / sweeps / 2 ** 20).toFixed(2)} MiB/tok`,
    `${(seconds > 0 ? read / seconds / 1e9 : 0).toFixed(2)} GB/s`,
    ...copyShares(stats),
    ...(mapped ? [] : [`stall ${percent(share)}`]),
    ...(stats.guesses === null ? [] : [`guesses ${stats.guesses}`]),
    `seed ${result.seed}`,
    result.reason,
  ].join(' · ')}]`)
}

/** Nothing where there is one copy, or nothing was read. */
function copyShares({ copies = [] }: RunStats): string[] {
  const total = copies.reduce((sum, copy) => sum + copy.bytes_read, 0)
  return total === 0 ? [] : [`copies ${copies.map((copy) => percent(copy.bytes_read / total)).join(' + ')}`]
}

function snapshot(model: Model): Snapshot {
  return { engine: model.stats(), process: processStats(), copies: model.driveShares() }
}
