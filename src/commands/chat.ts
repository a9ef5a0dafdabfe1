/** `hypura chat`: a conversation with the model's own chat template. */
import type { Command } from 'commander'
import { catchInterrupts } from '../interrupts.js'
import { loadWithProgress } from '../loading.js'
import { runRepl } from '../repl.js'
import { requireAppendable } from '../stats-file.js'
import { addLoadFlags, addSamplingFlags, addTemplateFlags, type LoadFlags, loadOptionsOf, type SamplingFlags } from './shared-options.js'

interface ChatFlags extends LoadFlags, SamplingFlags {
  readonly system?: string
  readonly chatTemplate?: string
  readonly footer: boolean
  readonly statsFile?: string
}

const examples = `
Examples:
  hypura chat model.gguf --memory 12GiB
  hypura chat base-model.gguf --chat-template chatml --system "Be short."
  printf 'hello\\nand again\\n' | hypura chat model.gguf`

export function addChat(root: Command): void {
  const command = addTemplateFlags(root
    .command('chat')
    .description('open a conversation (piped lines are one message each)')
    .argument('<model>', 'GGUF file; the first part of a split one is enough'))
    .option('--no-footer', 'no line of figures after each answer')
    .option('--stats-file <path>', 'append one JSON line with the figures of each answer')
  addSamplingFlags(addLoadFlags(command)).addHelpText('after', examples).action(chat)
}

async function chat(path: string, flags: ChatFlags): Promise<void> {
  await requireAppendable(flags.statsFile)
  using interrupts = catchInterrupts()
  await using model = await loadWithProgress(path, { ...loadOptionsOf(flags), loadSignal: interrupts.signal })
  await runRepl(path, model, { ...flags, allowPlain: false }, interrupts)
}
