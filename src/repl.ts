/**
 * The conversation on a terminal: lines in, answers out, a few slash commands.
 *
 * Ctrl-C while an answer comes stops that answer; at the prompt the first one hints and a second one leaves. Piped input is
 * read line by line, each line one message, until it ends.
 */
import { createInterface, type Interface } from 'node:readline'
import { type ChatMessage, type ChatTemplate, HypuraError, type Model, type Sequence } from '../ts/engine/index.js'
import { type Answer, showAnswer, showFooter } from './answer.js'
import { templateOf } from './chat-template-choice.js'
import { generateOptionsOf, type SamplingFlags } from './commands/shared-options.js'
import { write } from './output.js'
import { runSlashCommand } from './slash-commands.js'
import { appendStats } from './stats-file.js'
import { bold, fail, note } from './terminal.js'

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

const leaveWithinMs = 2000

export async function runRepl(path: string, model: Model, options: ReplOptions): Promise<void> {
  const template = await templateOf(model, options.chatTemplate)
  if (template === undefined && !options.allowPlain) {
    throw new HypuraError('ERR_HYPURA_TEMPLATE', `${path} has no chat template (tokenizer.chat_template): give one with --chat-template FILE or --chat-template chatml, or continue plain text with "hypura run ${path} -p TEXT"`)
  }
  await using sequence = model.createSequence()
  const conversation: Conversation = { path, model, template, messages: [], sampling: options, system: options.system, footer: options.footer, lastAnswer: undefined, sequence }
  const interactive = process.stdin.isTTY === true
  if (interactive) note(template === undefined ? 'no chat template: each line is continued as it is. /? for help, /bye leaves' : '/? for help, /bye leaves')

  const lines = new LineReader(interactive)
  using _closing = lines
  for (;;) {
    const text = await lines.message()
    if (text === undefined) return
    if (text.trim() === '') continue
    try {
      const action = text.startsWith('/') ? await runSlashCommand(conversation, text) : { kind: 'say' as const, text }
      if (action.kind === 'leave') return
      if (action.kind === 'done') continue
      await answer(conversation, lines, action.kind === 'say' ? action.text : undefined, options.statsFile)
    } catch (error) {
      if (!interactive) throw error
      fail(error instanceof HypuraError ? error.message : String(error)) // the conversation goes on
    }
  }
}

/** `text` undefined: answer the last message again. */
async function answer(conversation: Conversation, lines: LineReader, text: string | undefined, statsFile: string | undefined): Promise<void> {
  const { model, sequence, template, path } = conversation
  const controller = new AbortController()
  const options = { ...generateOptionsOf(conversation.sampling, template === undefined ? 256 : -1), signal: controller.signal, stopOnAbortSignal: true }
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
    if (statsFile !== undefined) await appendStats(statsFile, shown.stats)
  } finally {
    lines.onInterrupt = undefined
  }
}

/** Messages from the terminal or a pipe; """ begins and ends one of several lines. */
class LineReader implements Disposable {
  onInterrupt: (() => void) | undefined
  readonly #lines: Interface
  readonly #interactive: boolean
  readonly #waiting: string[] = []
  #resume: (() => void) | undefined
  #ended = false
  #hintedAt = -Infinity

  constructor(interactive: boolean) {
    this.#interactive = interactive
    this.#lines = createInterface({ input: process.stdin, ...(interactive ? { output: process.stderr, historySize: 1000 } : {}), terminal: interactive })
    this.#lines.on('line', (line) => {
      this.#waiting.push(line)
      this.#resume?.()
    })
    this.#lines.on('close', () => {
      this.#ended = true
      this.#resume?.()
    })
    this.#lines.on('SIGINT', () => this.#interrupt())
    process.on('SIGINT', this.#interrupt)
  }

  /** Undefined at the end of the input. */
  async message(): Promise<string | undefined> {
    const first = await this.#line('>>> ')
    if (first === undefined || !first.trimStart().startsWith('"""')) return first
    const parts = [first.trimStart().slice(3)]
    while (!parts.at(-1)!.trimEnd().endsWith('"""')) {
      const next = await this.#line('... ')
      if (next === undefined) break
      parts.push(next)
    }
    return parts.join('\n').replace(/"""\s*$/, '')
  }

  [Symbol.dispose](): void {
    process.off('SIGINT', this.#interrupt)
    this.#lines.close()
  }

  async #line(prompt: string): Promise<string | undefined> {
    if (this.#interactive && !this.#ended) {
      this.#lines.setPrompt(bold(prompt))
      this.#lines.prompt()
    }
    while (this.#waiting.length === 0 && !this.#ended) await new Promise<void>((resolve) => (this.#resume = resolve))
    this.#resume = undefined
    return this.#waiting.shift()
  }

  readonly #interrupt = (): void => {
    if (this.onInterrupt !== undefined) return this.onInterrupt()
    const now = performance.now()
    if (now - this.#hintedAt < leaveWithinMs || !this.#interactive) {
      this.#ended = true
      this.#resume?.()
      this.#lines.close()
      return
    }
    this.#hintedAt = now
    note('\nagain to leave (or /bye)')
    this.#lines.prompt()
  }
}
