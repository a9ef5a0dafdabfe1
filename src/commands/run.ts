/** `hypura run`: one answer for a prompt, or a conversation when there is none and a person sits there. */
import type { Command } from 'commander'
import { HypuraError } from '../../ts/engine/index.js'
import { showAnswer, showFooter } from '../answer.js'
import { catchInterrupts } from '../interrupts.js'
import { loadWithProgress } from '../loading.js'
import { write } from '../output.js'
import { readPrompt } from '../prompt-input.js'
import { type PromptFlags, promptTokens } from '../prompt-tokens.js'
import { runRepl } from '../repl.js'
import { appendStats, requireAppendable } from '../stats-file.js'
import { printable } from '../terminal.js'
import { addLoadFlags, addPromptFlags, addSamplingFlags, generateOptionsOf, type LoadFlags, loadOptionsOf, type SamplingFlags } from './shared-options.js'

/** Tokens of an answer of a model that has no chat template, and so hardly ever ends by itself. */
const completionTokensDefault = 256

interface RunFlags extends LoadFlags, SamplingFlags, PromptFlags {
  readonly footer: boolean
  readonly statsFile?: string
}

const examples = `
Examples:
  hypura run model.gguf "Why is the sky blue?"                 one answer
  hypura run model.gguf --memory 12GiB                         a conversation, in at most 12 GiB
  git diff | hypura run model.gguf -f - -p "Summarise this."   text from a pipe, then the question
  hypura run model.gguf --temp 0 -n 64 -p "Once upon a time"   the same text every time`

export function addRun(root: Command): void {
  const command = addPromptFlags(root
    .command('run')
    .description('answer a prompt; without one, on a terminal, open a conversation')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .argument('[prompt]', 'the same as -p'))
    .option('--no-footer', 'no line of figures at the end')
    .option('--stats-file <path>', 'append one JSON line with the run\'s figures')
  addSamplingFlags(addLoadFlags(command)).addHelpText('after', examples).action(run)
}

async function run(path: string, positional: string | undefined, flags: RunFlags): Promise<void> {
  if (positional !== undefined && flags.prompt !== undefined) throw new HypuraError('ERR_HYPURA_USAGE', 'the prompt was given twice: as an argument and with -p')
  const prompt = await readPrompt({ prompt: flags.prompt ?? positional, file: flags.file })
  await requireAppendable(flags.statsFile)
  using interrupts = catchInterrupts()
  await using model = await loadWithProgress(path, { ...loadOptionsOf(flags), loadSignal: interrupts.signal })
  if (prompt === undefined) return await runRepl(path, model, { ...flags, allowPlain: true }, interrupts)

  await using sequence = model.createSequence()
  const tokens = await promptTokens(model, prompt, flags)
  const isChat = tokens !== undefined
  const options = { ...generateOptionsOf(flags, isChat ? -1 : completionTokensDefault), signal: interrupts.signal, stopOnAbortSignal: true }
  if (!isChat && process.stdout.isTTY === true) await write(printable(prompt))
  const answer = await showAnswer(path, model, () => sequence.generate(tokens ?? prompt, options))
  await write('\n')
  if (flags.footer) showFooter(answer, model)
  if (flags.statsFile !== undefined) await appendStats(flags.statsFile, answer.stats)
}
