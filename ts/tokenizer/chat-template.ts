/**
 * Chat templates: a conversation in, the text that the model was trained on out.
 *
 * A template comes with the model, so it is a stranger's program: it runs in a thread of its own, with counted steps and
 * a time limit. There is no silent substitute: what cannot be rendered is ERR_HYPURA_TEMPLATE with reason and line.
 */
import { HypuraError } from '../base/errors.js'
import type { Metadata } from '../gguf/types.js'
import { templateLimits, templateTimes, type TemplateTimes } from './limits.js'
import { TemplateFailure } from './template-failure.js'
import { TemplateRunner } from './template-runner.js'

/** A message; null content counts as ''. Further fields (tool_calls, tool_call_id, name, reasoning_content) are passed to the template as they are. */
export interface ChatMessage {
  readonly role: string
  readonly content: string | readonly unknown[] | null
  readonly [field: string]: unknown
}

export interface ChatTemplateOptions {
  /** Texts of the model's tokens; '' where it has none. */
  readonly bosToken: string
  readonly eosToken: string
  readonly times?: TemplateTimes
}

export interface RenderOptions {
  /** Ask for an answer of the assistant. On. */
  readonly addGenerationPrompt?: boolean
  readonly tools?: readonly unknown[]
  /** Further variables of the template (enable_thinking, documents, …). */
  readonly extra?: Readonly<Record<string, unknown>>
  /** What strftime_now tells. */
  readonly now: Date
}

export interface ChatTemplate extends AsyncDisposable {
  readonly source: string
  /**
   * Renderings of one template run one after another.
   *
   * @throws ERR_HYPURA_TEMPLATE with details.reason (syntax, missing-feature, raise, value, time, steps, size, depth) and
   *   details.line where known; ERR_HYPURA_INVALID_ARGUMENT for what cannot be sent to a thread; ERR_HYPURA_DISPOSED
   */
  render(messages: readonly ChatMessage[], options: RenderOptions): Promise<string>
  /** Idempotent. */
  close(): Promise<void>
}

/** Nothing runs before the first rendering. */
export function createChatTemplate(source: string, options: ChatTemplateOptions): ChatTemplate {
  return new ThreadedTemplate(source, options)
}

/** The templates of a file by name: "default" and the named ones (tokenizer.chat_template.NAME), such as "tool_use". */
export function chatTemplateSources(metadata: Metadata): ReadonlyMap<string, string> {
  const key = 'tokenizer.chat_template'
  const sources = new Map<string, string>()
  const main = metadata.string(key)
  if (main !== undefined) sources.set('default', main)
  for (const name of metadata.keys()) {
    if (name.startsWith(`${key}.`) && metadata.typeOf(name) === 'string') sources.set(name.slice(key.length + 1), metadata.string(name)!)
  }
  return sources
}

class ThreadedTemplate implements ChatTemplate {
  readonly source: string
  readonly #tokens: { readonly bos_token: string; readonly eos_token: string }
  readonly #runner: TemplateRunner
  #closed = false

  constructor(source: string, { bosToken, eosToken, times = templateTimes }: ChatTemplateOptions) {
    this.source = source
    this.#tokens = { bos_token: bosToken, eos_token: eosToken }
    this.#runner = new TemplateRunner(source, times)
  }

  async render(messages: readonly ChatMessage[], options: RenderOptions): Promise<string> {
    if (this.#closed) throw this.#disposed()
    const variables = {
      // Clients send null beside tool calls; templates would print it as "None".
      messages: messages.map((message) => (message.content === null ? { ...message, content: '' } : message)),
      ...(options.tools === undefined ? {} : { tools: options.tools }),
      add_generation_prompt: options.addGenerationPrompt ?? true,
      ...this.#tokens,
      ...options.extra,
    }
    const units = textUnits(variables, templateLimits.inputDepth)
    try {
      const text = await this.#runner.render({ variables, nowMs: options.now.getTime(), units })
      // Checked again on this side: the worker ran a stranger's program.
      if (typeof text !== 'string' || text.length > templateLimits.textUnits + units) {
        throw new TemplateFailure('size', 'the result is too long')
      }
      return text
    } catch (error) {
      throw this.#closed ? this.#disposed() : typedError(error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#runner.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #disposed(): HypuraError {
    return new HypuraError('ERR_HYPURA_DISPOSED', 'The chat template is closed. Create a new one.')
  }
}

const advice: Readonly<Record<TemplateFailure['reason'], string>> = {
  syntax: 'Give a corrected template.',
  'missing-feature': 'Give a template without it, or report the model to us.',
  raise: 'The template itself refuses this conversation: change the messages, or give another template.',
  value: 'The messages lack something the template wants, or it is faulty: compare the messages with its line.',
  time: 'Shorten the conversation, or give a simpler template.',
  steps: 'Shorten the conversation, or give a simpler template.',
  size: 'Shorten the conversation, or give a simpler template.',
  depth: 'Give a template that nests less.',
}

function typedError(error: unknown): unknown {
  if (error instanceof TemplateFailure) {
    const { reason, line, message } = error
    const place = line === undefined ? '' : ` (line ${line})`
    return new HypuraError('ERR_HYPURA_TEMPLATE', `The chat template failed${place}: ${message}. ${advice[reason]} [${reason}]`, { reason, line })
  }
  if (error instanceof Error && error.name === 'DataCloneError') {
    return new HypuraError(
      'ERR_HYPURA_INVALID_ARGUMENT', 'The messages hold something that is no plain data (a function, a class). Pass what JSON can hold.',
      { field: 'messages' }, { cause: error },
    )
  }
  return error
}

/** Length of all texts in `data`. @throws ERR_HYPURA_TEMPLATE (depth) */
function textUnits(data: unknown, depth: number): number {
  if (depth < 0) throw typedError(new TemplateFailure('depth', 'the messages are nested too deeply'))
  if (typeof data === 'string') return data.length
  if (typeof data !== 'object' || data === null) return 8
  let units = 0
  for (const [key, item] of Object.entries(data)) units += key.length + textUnits(item, depth - 1)
  return units
}
