/** One prompt as a model with a chat template wants it: a conversation of one message. */
import { type ChatMessage, HypuraError, type Model } from '../ts/engine/index.js'
import { templateOf } from './chat-template-choice.js'

export interface PromptFlags {
  readonly prompt?: string
  readonly file?: string
  readonly system?: string
  readonly raw?: boolean
  readonly chatTemplate?: string
}

/** The rendered conversation of one message; undefined where the prompt is continued as it is. */
export async function promptTokens(model: Model, prompt: string, flags: PromptFlags): Promise<readonly number[] | undefined> {
  const template = flags.raw === true ? undefined : await templateOf(model, flags.chatTemplate)
  if (template === undefined) {
    if (flags.system !== undefined) throw new HypuraError('ERR_HYPURA_TEMPLATE', 'a system message needs a chat template: the model has none (give --chat-template), or --raw was given')
    return undefined
  }
  const messages: ChatMessage[] = [...(flags.system === undefined ? [] : [{ role: 'system', content: flags.system }]), { role: 'user', content: prompt }]
  return model.tokenizeChat(messages, { template })
}
