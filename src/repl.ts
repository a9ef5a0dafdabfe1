/**
 * The conversation on a terminal: lines in, answers out, a few slash commands.
 *
 * Ctrl-C while an answer comes stops that answer, and errors leave the conversation as it was before the message. Piped input
 * is read line by line, each line one message, until it ends; there the first error and the first Ctrl-C are the end.
 */
import { type ChatMessage, type ChatTemplate, HypuraError, type Model, type Sequence } from '../ts/engine/index.js'
import { type Answer, showAnswer, showFooter } from './answer.js'
import { templateOf } from './chat-template-choice.js'
import { generateOptionsOf, type SamplingFlags } from './commands/shared-options.js'
import type { Interrupts } from './interrupts.js'
import { LineReader } from './line-reader.js'
import { write } from './output.js'
import { runSlashCommand } from './slash-commands.js'
import { appendStats } from './stats-file.js'
import { fail, note, warn } from './terminal.js'

export interface ReplOptions extends SamplingFlags {
  readonly system?: string
  readonly chatTemplate?: string
  readonly footer: boolean
  readonly statsFile?: string
  /** Continue each line as it is when there is no chat template; otherwise that is an error. */
  readonly allowPlain: boolean
}

/** What slash commands may look at and change. */
export interface Conversation {
  readonly path: string
  readonly model: Model
  readonly template: ChatTemplate | undefined
  messages: ChatMessage[]
  sampling: SamplingFlags
  system: string | undefined
  footer: boolean
  lastAnswer: Answer | undefined
  /** Forgets the timeline of the cache as well. */
  readonly sequence: Sequence
}

export async function runRepl(path: string, model: Model, options: ReplOptions, interrupts: Interrupts): Promise<void> {
  const template = await templateOf(model, options.chatTemplate)
  if (template === undefined && !options.allowPlain) {
    throw new HypuraError('ERR_HYPURA_TEMPLATE', `${path} has no chat template (tokenizer.chat_template): give one with --chat-template FILE or --chat-template chatml, or continue plain text with "hypura run ${path} -p TEXT"`)
  }
  await using sequence = model.createSequence()
  const conversation: Conversation = { path, model, template, messages: [], sampling: options, system: options.system, footer: options.footer, lastAnswer: undefined, sequence }
  const interactive = process.stdin.isTTY === true
  if (interactive) note(template === undefined ? 'no chat template: each line is continued as it is. /? for help, /bye leaves' : '/? for help, /bye leaves')

  using lines = new LineReader(interactive, () => interrupts.interrupt())
  if (interactive) interrupts.divert(() => lines.interrupt())
  interrupts.signal.addEventListener('abort', () => lines.end(), { once: true })
  if (interrupts.signal.aborted) return
  for (;;) {
    const text = await lines.message()
    if (text === undefined) return
    if (text.trim() === '') continue
    try {
      const action = text.startsWith('/') ? await runSlashCommand(conversation, text) : { kind: 'say' as const, text }
      if (action.kind === 'leave') return
      if (action.kind === 'done') continue
      await answer(conversation, lines, action.kind === 'say' ? action.text : undefined, options.statsFile, interrupts.signal)
    } catch (error) {
      if (!interactive) throw error
      fail(sentence(error)) // the conversation goes on
    }
  }
}

function sentence(error: unknown): string {
  if (!(error instanceof HypuraError)) return error instanceof Error ? error.message : String(error)
  return error.code === 'ERR_HYPURA_CONTEXT_OVERFLOW' ? `${error.message}; /clear begins a new conversation` : error.message
}

/** `text` undefined: answer the last message again. */
async function answer(conversation: Conversation, lines: LineReader, text: string | undefined, statsFile: string | undefined, leaving: AbortSignal): Promise<void> {
  const { model, sequence, template, path } = conversation
  const controller = new AbortController()
  const options = { ...generateOptionsOf(conversation.sampling, template === undefined ? 256 : -1), signal: AbortSignal.any([controller.signal, leaving]), stopOnAbortSignal: true }
  const messages = text === undefined ? conversation.messages.slice(0, -1) : [...conversation.messages, { role: 'user', content: text }]
  if (messages.length === 0) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'there is nothing to answer again yet')
  const system = conversation.system === undefined ? [] : [{ role: 'system', content: conversation.system }]
  const timeline = template === undefined
    ? model.tokenizer.encode(messages.map(({ content }) => content).join(''), { addSpecial: true })
    : await model.tokenizeChat([...system, ...messages], { template })
  lines.onInterrupt = () => controller.abort()
  try {
    const shown = await showAnswer(path, model, () => sequence.generateFrom([...timeline], options))
    await write('\n')
    conversation.messages = [...messages, { role: 'assistant', content: shown.result.text }]
    conversation.lastAnswer = shown
    if (conversation.footer) showFooter(shown, model)
    if (shown.result.reason === 'context-full') warn(`the context of ${sequence.contextLength} positions is full: /clear begins a new conversation, --ctx-size gives more room`)
    if (statsFile !== undefined) await appendStats(statsFile, shown.stats)
  } finally {
    lines.onInterrupt = undefined
  }
}
