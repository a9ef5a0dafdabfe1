/** A loaded model: its plan, its tokenizer and template, and the sequences that run on it. */
import { HypuraError } from '../base/errors.js'
import type { EngineFacts, NativeEngine } from '../native/native-binding.js'
import { type ChatMessage, type ChatTemplate, createChatTemplate } from '../tokenizer/chat-template.js'
import { type ConversationOptions, tokenizeConversation } from '../tokenizer/conversation.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { ModelDescription } from './model-description.js'
import { counters, type ModelStats } from './model-stats.js'
import { awaitNative, callNative } from './native-errors.js'
import type { LoadOptions } from './options.js'
import type { ModelPlan } from './plan-model.js'
import { PlannerHost } from './planner-host.js'
import { Sequence } from './sequence.js'

export interface ModelParts {
  readonly description: ModelDescription
  readonly plan: ModelPlan
  readonly engine: NativeEngine
  readonly facts: EngineFacts
  readonly paths: readonly string[]
  readonly options: LoadOptions
}

export interface TokenizeChatOptions extends ConversationOptions {
  /** Default: the model's own. */
  readonly template?: ChatTemplate
}

export class Model implements AsyncDisposable {
  readonly #parts: ModelParts
  readonly #planner: PlannerHost | undefined
  readonly #warnings: string[] = []
  readonly #open = new Set<Sequence>()
  #tokenizer: Tokenizer | undefined
  #ownTemplate: ChatTemplate | undefined
  readonly #templates = new Set<ChatTemplate>()
  #busy = 0
  #closing: Promise<void> | undefined

  constructor(parts: ModelParts) {
    this.#parts = parts
    const { plan, facts, description, engine, options } = parts
    this.#warnings.push(...plan.warnings)
    if (!facts.direct && plan.mode === 'stream') this.#warnings.push(`weights are read through the page cache (${facts.directReason}): slower, and the cache's memory is not in the budget`)
    if (plan.mode === 'stream' && plan.regions.poolSlots > 0) {
      this.#planner = new PlannerHost(engine, {
        manifest: description.manifest,
        regions: { pinCount: plan.regions.pinCount, poolSlots: plan.regions.poolSlots },
        eviction: options.eviction ?? 'cost-aware',
        drive: plan.drive.cost,
      }, (text) => this.#warnings.push(text))
    }
  }

  get path(): string {
    return this.#parts.description.path
  }
  get description(): ModelDescription {
    return this.#parts.description
  }
  /** The itemised memory plan that is in force. */
  get plan(): ModelPlan {
    return this.#parts.plan
  }
  /** What loading found: backend, direct or not, kernels, threads, huge pages. */
  get facts(): EngineFacts {
    return this.#parts.facts
  }
  /** Sentences a user should see; grows while the model lives. */
  get warnings(): readonly string[] {
    return this.#warnings
  }
  get tokenizer(): Tokenizer {
    return (this.#tokenizer ??= this.#parts.description.tokenizer())
  }

  /** The file's own chat template; undefined when it has none. */
  get chatTemplate(): ChatTemplate | undefined {
    if (this.#ownTemplate === undefined) {
      const source = this.#parts.description.gguf.metadata.string('tokenizer.chat_template')
      if (source !== undefined) this.#ownTemplate = this.createChatTemplate(source)
    }
    return this.#ownTemplate
  }

  /** A template with this model's begin and end tokens; closed with the model. */
  createChatTemplate(source: string): ChatTemplate {
    const { tokenizer } = this
    const text = (id: number | undefined): string => (id === undefined ? '' : new TextDecoder().decode(tokenizer.tokenBytes(id)))
    const template = createChatTemplate(source, { bosToken: text(tokenizer.bos), eosToken: text(tokenizer.eos) })
    this.#templates.add(template)
    return template
  }

  /**
   * A conversation as tokens. Control tokens come from the template alone: where a message spells one, it stays plain text.
   *
   * Errors: ERR_HYPURA_TEMPLATE with reason and line; also when the model has no template and none is given.
   */
  async tokenizeChat(messages: readonly ChatMessage[], options: TokenizeChatOptions = {}): Promise<number[]> {
    const template = options.template ?? this.chatTemplate
    if (template === undefined) throw new HypuraError('ERR_HYPURA_TEMPLATE', `${this.path} has no chat template (tokenizer.chat_template): pass one`, { reason: 'missing' })
    return tokenizeConversation(this.tokenizer, template, messages, options)
  }

  /** Errors: ERR_HYPURA_BUSY when all sequences that were budgeted at load are open. */
  createSequence(): Sequence {
    this.#assertOpen()
    const { engine, plan, description, paths } = this.#parts
    const most = plan.regions.nSequences
    if (this.#open.size >= most) throw new HypuraError('ERR_HYPURA_BUSY', `all ${most} sequences that were budgeted are open: close one, or load with sequencesMax ${most + 1}`, { found: most })
    const native = callNative(() => engine.createSequence(), paths)
    const sequence: Sequence = new Sequence({
      native, paths,
      tokenizer: () => this.tokenizer,
      contextLength: plan.contextLength,
      vocabularySize: description.spec.nVocab,
      logitsRows: plan.regions.logitsRows,
      onClose: () => this.#open.delete(sequence),
      onBusy: (busy) => this.#setBusy(busy),
    })
    this.#open.add(sequence)
    return sequence
  }

  /** Counters of the engine since load. */
  stats(): ModelStats {
    this.#assertOpen()
    return counters(this.#parts.engine)
  }

  /** Plans that policy has sent down since load. */
  get plansSubmitted(): number {
    return this.#planner?.plans ?? 0
  }

  /** Cancels what runs and gives everything back. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#planner?.close()
    for (const template of this.#templates) await template.close()
    // All at once: one may wait for another's reader.
    await Promise.all([...this.#open].map((sequence) => sequence.close()))
    await awaitNative(this.#parts.engine.close(), this.#parts.paths)
  }

  #setBusy(busy: boolean): void {
    this.#busy += busy ? 1 : -1
    this.#planner?.setActive(this.#busy > 0)
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new HypuraError('ERR_HYPURA_DISPOSED', 'the model was closed')
  }
}
