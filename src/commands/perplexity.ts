/** `hypura perplexity`: how well a model foretells a text, as llama.cpp's perplexity tool counts it. */
import { type Command, Option } from 'commander'
import { describeModel, HypuraError, measurePerplexity, type Model, type Perplexity, perplexityWindows, perplexityWindowDefault } from '../../ts/engine/index.js'
import { rate } from '../format.js'
import { catchInterrupts } from '../interrupts.js'
import { loadWithProgress } from '../loading.js'
import { write, writeJson } from '../output.js'
import { readPrompt } from '../prompt-input.js'
import { progressLine } from '../terminal.js'
import { addLoadFlags, integer, type LoadFlags, loadOptionsOf } from './shared-options.js'

/** Rows of logits per sweep: the head is read once for this many positions. */
const logitsRowsMax = 32

interface PerplexityFlags extends LoadFlags {
  readonly file?: string
  readonly prompt?: string
  readonly chunks?: number
  readonly output: 'human' | 'json'
}

const examples = `
Examples:
  hypura perplexity model.gguf -f text.txt                 windows of 512 tokens
  hypura perplexity model.gguf -f text.txt -c 2048         of 2,048
  hypura perplexity model.gguf -f text.txt --chunks 8 -o json`

export function addPerplexity(root: Command): void {
  const command = root
    .command('perplexity')
    .description('how well a model foretells a text: e to the mean of -ln p over the second half of each window')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .option('-f, --file <path>', 'the text, - is stdin')
    .option('-p, --prompt <text>', 'the text, behind that of -f')
    .option('--chunks <n>', 'windows to take, from the beginning (default: all that are full)', integer(1, 2 ** 31 - 1))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
  addLoadFlags(command, `tokens of a window (default: ${perplexityWindowDefault})`).addHelpText('after', examples).action(perplexity)
}

async function perplexity(path: string, flags: PerplexityFlags): Promise<void> {
  using interrupts = catchInterrupts()
  const text = await readPrompt({ prompt: flags.prompt, file: flags.file })
  if (text === undefined || text === '') throw new HypuraError('ERR_HYPURA_USAGE', 'there is no text: give -f FILE, -p TEXT or pipe one in')
  const load = loadOptionsOf(flags)
  const windowTokens = load.contextLength ?? perplexityWindowDefault
  const options = { windowTokens, windowsMax: flags.chunks }
  const { tokenizer } = await describeModel(path, { tokenizerPre: flags.tokenizerPre })
  perplexityWindows(tokenizer(), text, options) // refuses before anything is loaded
  await using model = await loadWithProgress(path, {
    ...load,
    contextLength: windowTokens,
    logitsRows: Math.min(logitsRowsMax, flags.batchSize ?? logitsRowsMax),
    loadSignal: interrupts.signal,
  })
  const bar = progressLine('evaluating')
  const result = await measurePerplexity(model, text, {
    ...options,
    signal: interrupts.signal,
    onWindow: (soFar, windows) => bar.update(soFar.windows / windows, `window ${soFar.windows} of ${windows}, PPL ${soFar.perplexity.toFixed(3)}`),
  }).finally(() => bar.clear())
  if (flags.output === 'json') await writeJson(json(path, model, result))
  else await write(human(result))
}

function human({ perplexity, standardError, windows, windowTokens, scoredTokens, tokensPerSecond }: Perplexity): string {
  return [
    `PPL ${perplexity.toFixed(4)} ± ${standardError.toFixed(4)}`,
    `${scoredTokens} tokens scored, in ${windows} window${windows === 1 ? '' : 's'} of ${windowTokens} · ${rate(tokensPerSecond)} tok/s`,
    '',
  ].join('\n')
}

function json(path: string, { plan }: Model, result: Perplexity): unknown {
  return {
    schema: 1,
    model: path,
    perplexity: result.perplexity,
    perplexity_error: result.standardError,
    mean_nll: result.meanNll,
    scored_tokens: result.scoredTokens,
    windows: result.windows,
    window_tokens: result.windowTokens,
    tokens_per_second: result.tokensPerSecond,
    mode: plan.mode,
    kv_type: plan.regions.kvType,
  }
}
