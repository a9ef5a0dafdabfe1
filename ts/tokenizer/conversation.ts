/** A conversation as tokens: the template renders it, its control tokens are found, the messages' own texts stay plain. */
import type { ChatMessage, ChatTemplate } from './chat-template.js'
import { createTextGuard, type TextGuard } from './guarded-text.js'
import type { Tokenizer } from './tokenizer.js'

export interface ConversationOptions {
  /** Ask for an answer; default true. */
  readonly addGenerationPrompt?: boolean
  readonly tools?: readonly unknown[]
  readonly now?: Date
}

/** Templates look for these in what the model said before; in some vocabularies they are control tokens. */
const thinkingMarks: ReadonlySet<string> = new Set(['<think>', '</think>'])

const guards = new WeakMap<Tokenizer, TextGuard>()

/**
 * BOS is added where the model wants it, unless the template wrote it.
 *
 * Errors: ERR_HYPURA_TEMPLATE with reason and line.
 */
export async function tokenizeConversation(tokenizer: Tokenizer, template: ChatTemplate, messages: readonly ChatMessage[], options: ConversationOptions = {}): Promise<number[]> {
  let guard = guards.get(tokenizer)
  if (guard === undefined) guards.set(tokenizer, (guard = createTextGuard(tokenizer)))
  const guarded = messages.map((message) => guard.guard(message, message.role === 'assistant' ? thinkingMarks : undefined))
  const rendered = await template.render(guarded, {
    addGenerationPrompt: options.addGenerationPrompt ?? true,
    now: options.now ?? new Date(),
    ...(options.tools === undefined ? {} : { tools: guard.guard(options.tools) }),
  })
  const tokens = [...tokenizer.encode(rendered, { addSpecial: true, parseSpecial: true, restore: (plain) => guard.restore(plain) })]
  return tokenizer.bos !== undefined && tokens[0] === tokenizer.bos && tokens[1] === tokenizer.bos ? tokens.slice(1) : tokens
}
