/** `hypura trace`: a run whose experts' choices are written down, for `hypura simulate` to judge policies on. */
import { closeSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import type { Command } from 'commander'
import { HypuraError } from '../../ts/engine/index.js'
import { catchInterrupts } from '../interrupts.js'
import { loadWithProgress } from '../loading.js'
import { writeJson } from '../output.js'
import { readPrompt } from '../prompt-input.js'
import { type PromptFlags, promptTokens } from '../prompt-tokens.js'
import { progressLine, warn } from '../terminal.js'
import { addLoadFlags, addPromptFlags, addSamplingFlags, generateOptionsOf, type LoadFlags, loadOptionsOf, type SamplingFlags } from './shared-options.js'

const tokensDefault = 256

interface TraceFlags extends LoadFlags, SamplingFlags, PromptFlags {
  readonly out: string
}

const examples = `
Examples:
  hypura trace model.gguf -f letter.txt -n 400 --out letter.trace    the prompt, then 400 tokens
  hypura trace model.gguf -f letter.txt -b 1 -n 1 --out letter.trace each token of a given text`

export function addTrace(root: Command): void {
  const command = root
    .command('trace')
    .description('record which experts a run chooses; no text and no tokens are written')
    .argument('<model>', 'GGUF file of a mixture of experts')
    .requiredOption('--out <path>', 'where the trace goes')
  addSamplingFlags(addLoadFlags(addPromptFlags(command))).addHelpText('after', examples).action(trace)
}

async function trace(path: string, flags: TraceFlags): Promise<void> {
  const prompt = await readPrompt({ prompt: flags.prompt, file: flags.file })
  if (prompt === undefined || prompt === '') throw new HypuraError('ERR_HYPURA_USAGE', 'there is no prompt: give -p TEXT, -f FILE or pipe one in')
  using interrupts = catchInterrupts()
  requireTraceOrNothing(flags.out)
  await using model = await loadWithProgress(path, { ...loadOptionsOf(flags), loadSignal: interrupts.signal })
  await using sequence = model.createSequence()
  const tokens = await promptTokens(model, prompt, flags) ?? [...model.tokenizer.encode(prompt, { addSpecial: true })]
  const file = new OutputFile(flags.out)
  let isWhole = false
  try {
    const recording = await model.recordRoutes((bytes) => file.write(bytes))
    const bar = progressLine('recording')
    let generated = 0
    try {
      for await (const chunk of sequence.generate(tokens, { ...generateOptionsOf(flags, tokensDefault), signal: interrupts.signal, stopOnAbortSignal: true })) {
        if (chunk.type === 'prompt-progress') bar.update(chunk.processed / chunk.total, `${chunk.processed} of ${chunk.total} positions of the prompt`)
        else if (chunk.type === 'text') bar.update(1, `${(generated += chunk.tokens.length)} tokens`)
      }
    } finally {
      bar.clear()
    }
    const summary = recording.end()
    file.flush()
    isWhole = true
    if (summary.lostEvents > 0) warn(`${summary.lostEvents} event records were lost: the trace leaves out the sweeps they belong to, and says so`)
    await writeJson({ out: flags.out, bytes: file.bytes, sweeps: summary.sweeps, skipped_sweeps: summary.skippedSweeps, lost_events: summary.lostEvents, prompt_tokens: tokens.length, tokens: generated, mode: model.plan.mode })
  } finally {
    file.close()
    if (!isWhole) file.remove()
  }
}

/** Buffers what is written: a sweep is a few hundred bytes. */
class OutputFile {
  readonly #path: string
  readonly #descriptor: number
  readonly #buffer = new Uint8Array(1 << 16)
  #held = 0
  bytes = 0

  constructor(path: string) {
    this.#path = path
    this.#descriptor = this.#do(() => openSync(path, 'w'))
  }

  write(bytes: Uint8Array): void {
    this.bytes += bytes.length
    for (let at = 0; at < bytes.length;) {
      if (this.#held === this.#buffer.length) this.flush()
      const piece = bytes.subarray(at, at + this.#buffer.length - this.#held)
      this.#buffer.set(piece, this.#held)
      this.#held += piece.length
      at += piece.length
    }
  }

  flush(): void {
    for (let at = 0; at < this.#held;) at += this.#do(() => writeSync(this.#descriptor, this.#buffer, at, this.#held - at))
    this.#held = 0
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  /** A device or a pipe is not ours to take away. */
  remove(): void {
    if (statSync(this.#path, { throwIfNoEntry: false })?.isFile() === true) rmSync(this.#path, { force: true })
  }

  #do<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw new HypuraError('ERR_HYPURA_USAGE', `cannot write ${this.#path}: ${(error as Error).message}`, { path: this.#path }, { cause: error })
    }
  }
}

/** A slip of the fingers must not cost a model: what is there and is no trace is not written over. */
function requireTraceOrNothing(path: string): void {
  const info = statSync(path, { throwIfNoEntry: false })
  if (info === undefined || !info.isFile() || info.size === 0) return
  const first = new Uint8Array(4)
  const descriptor = openSync(path, 'r')
  try {
    readSync(descriptor, first, 0, 4, 0)
  } finally {
    closeSync(descriptor)
  }
  if (new TextDecoder().decode(first) !== 'HYPT') throw new HypuraError('ERR_HYPURA_USAGE', `${path} exists and is no trace: it is not written over`, { path })
}
