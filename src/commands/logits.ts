/** `hypura logits`: teacher-forces a text and writes every position's logits, the common ground of all comparisons. */
import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { describeModel, HypuraError, type ModelDescription } from '../../ts/engine/index.js'
import { catchInterrupts } from '../interrupts.js'
import { loadWithProgress } from '../loading.js'
import { writeJson } from '../output.js'
import { readPrompt } from '../prompt-input.js'
import { progressLine } from '../terminal.js'
import { addLoadFlags, type LoadFlags, loadOptionsOf } from './shared-options.js'

/** Rows of logits per sweep: the head is read once for this many positions. */
const logitsRowsMax = 32

interface LogitsFlags extends LoadFlags {
  readonly file?: string
  readonly prompt?: string
  readonly tokens?: string
  readonly out?: string
}

export function addLogits(root: Command): void {
  const command = root
    .command('logits')
    .description('evaluate a text and write the logits of every position (raw little-endian f32, [positions, n_vocab])')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .option('-f, --file <path>', 'the text, - is stdin')
    .option('-p, --prompt <text>', 'the text, behind that of -f')
    .option('--tokens <path>', 'token ids as a JSON array, taken as they are')
    .option('--out <path>', 'where the logits go; without it only their SHA-256 is printed')
  addLoadFlags(command).action(logits)
}

async function logits(path: string, flags: LogitsFlags): Promise<void> {
  using interrupts = catchInterrupts()
  const description = await describeModel(path, { tokenizerPre: flags.tokenizerPre })
  const tokens = await readTokens(description, flags)
  const load = loadOptionsOf(flags)
  await using model = await loadWithProgress(path, {
    ...load,
    contextLength: load.contextLength ?? tokens.length,
    logitsRows: Math.min(logitsRowsMax, flags.batchSize ?? logitsRowsMax, tokens.length),
    loadSignal: interrupts.signal,
  })
  await using sequence = model.createSequence()
  const hash = createHash('sha256')
  const bar = progressLine('evaluating')
  const file = flags.out === undefined ? undefined : await openOutput(flags.out)
  try {
    await sequence.evaluate(tokens, async (rows) => {
      const bytes = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength)
      hash.update(bytes)
      if (file !== undefined) await file.writeFile(bytes)
    }, { signal: interrupts.signal, onProgress: ({ processed, total }) => bar.update(processed / total, `${processed} of ${total} positions`) })
  } finally {
    bar.clear()
    await file?.close()
  }
  await writeJson({ tokens: tokens.length, n_vocab: description.spec.nVocab, sha256: hash.digest('hex'), mode: model.plan.mode, kv_type: model.plan.regions.kvType })
}

async function readTokens(description: ModelDescription, flags: LogitsFlags): Promise<readonly number[]> {
  if (flags.tokens !== undefined) {
    if (flags.file !== undefined || flags.prompt !== undefined) throw new HypuraError('ERR_HYPURA_USAGE', 'give a text (-f, -p) or --tokens, not both')
    return readIds(flags.tokens)
  }
  const text = await readPrompt({ prompt: flags.prompt, file: flags.file })
  if (text === undefined || text === '') throw new HypuraError('ERR_HYPURA_USAGE', 'there is no text to evaluate: give -f FILE, -p TEXT, --tokens ids.json or pipe one in')
  return [...description.tokenizer().encode(text, { addSpecial: true })]
}

async function readIds(path: string): Promise<readonly number[]> {
  let ids: unknown
  try {
    ids = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `cannot read token ids from ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every((id) => Number.isInteger(id) && id >= 0)) {
    throw new HypuraError('ERR_HYPURA_USAGE', `${path} does not hold a JSON array of token ids`, { path })
  }
  return ids as number[]
}

async function openOutput(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  try {
    return await open(path, 'w')
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `cannot write ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}
