/** A loaded model: its plan, its tokenizer and template, and the sequences that run on it. */
import { HypuraError } from '../base/errors.js'
import type { EngineFacts, NativeEngine, NativeSequence } from '../native/native-binding.js'
import { autoBudgetBytes, memoryLimits, tightestLimit } from '../machine/memory-limits.js'
import { loadBinding } from '../native/load-binding.js'
import { ioDepthDefault } from '../prefetch/memory-budget.js'
import { parseSize, resolveSize } from '../prefetch/parse-size.js'
import { type ChatMessage, type ChatTemplate, createChatTemplate } from '../tokenizer/chat-template.js'
import { type ConversationOptions, tokenizeConversation } from '../tokenizer/conversation.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { CacheMemory } from './cache-memory.js'
import { ClientNumbers } from './client-numbers.js'
import { CopyReports, type CopyShare } from './copy-reports.js'
import type { MixtureHabits } from './expert-habits.js'
import type { ModelCopies } from './model-copies.js'
import type { ModelDescription } from './model-description.js'
import { counters, type ModelStats } from './model-stats.js'
import { awaitNative, callNative } from './native-errors.js'
import { checkSequenceOptions, type LoadOptions, type MemoryChange, type Size, type SequenceOptions } from './options.js'
import type { ModelPlan } from './plan-model.js'
import { type GuessReport, plannerBasis, PlannerHost } from './planner-host.js'
import { PressureMonitor } from './pressure-monitor.js'
import { RouteRecording } from './route-recording.js'
import { Sequence } from './sequence.js'
import { traceModelOf } from './trace-file.js'

export interface ModelParts {
  readonly description: ModelDescription
  readonly plan: ModelPlan
  readonly copies: ModelCopies
  readonly engine: NativeEngine
  readonly facts: EngineFacts
  readonly paths: readonly string[]
  readonly options: LoadOptions
  readonly habits: MixtureHabits | undefined
}

export interface TokenizeChatOptions extends ConversationOptions {
  /** Default: the model's own. */
  readonly template?: ChatTemplate
}

export class Model implements AsyncDisposable {
  readonly #parts: ModelParts
  #planner: PlannerHost | undefined
  /** Undefined in the modes that have no cache. */
  readonly #memory: CacheMemory | undefined
  readonly #monitor: PressureMonitor | undefined
  readonly #warnings: string[] = []
  readonly #copies: CopyReports
  readonly #open = new Set<Sequence>()
  readonly #clients = new ClientNumbers()
  #tokenizer: Tokenizer | undefined
  #ownTemplate: ChatTemplate | undefined
  readonly #templates = new Set<ChatTemplate>()
  #busy = 0
  #recording: RouteRecording | undefined
  #closing: Promise<void> | undefined

  constructor(parts: ModelParts) {
    this.#parts = parts
    const { plan, copies, facts, description, engine, options } = parts
    this.#copies = new CopyReports(engine, copies, facts.driveBytesPerSecond)
    this.#warnings.push(...plan.warnings)
    for (const habits of [parts.habits?.use, parts.habits?.relations]) if (habits?.warning !== undefined) this.#warnings.push(habits.warning)
    if (!facts.direct && plan.mode === 'stream') this.#warnings.push(`weights are read through the page cache (${facts.directReason}): slower, and the cache's memory is not in the budget`)
    facts.mirrors.forEach(({ direct, directReason }, i) => {
      if (!direct && facts.direct) this.#warnings.push(`the mirror ${copies.paths[i + 1]!} is read through the page cache (${directReason}): slower, and the cache's memory is not in the budget`)
    })
    this.#memory = plan.regions.placement === 'cache' ? this.#cacheMemory() : undefined
    this.#monitor = this.#memory === undefined || options.elastic === false ? undefined : this.#watch(this.#memory)
    this.#planPool(plan)
  }

  get path(): string {
    return this.#parts.description.path
  }
  get description(): ModelDescription {
    return this.#parts.description
  }
  /** The itemised memory plan that is in force. */
  get plan(): ModelPlan {
    return this.#memory?.plan ?? this.#parts.plan
  }
  /** What loading found: backend, direct or not, kernels, threads, huge pages. */
  get facts(): EngineFacts {
    return this.#parts.facts
  }
  /** Sentences a user should see; grows while the model lives. */
  get warnings(): readonly string[] {
    return [...this.#warnings, ...this.#copies.warnings()]
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

  /** Errors: ERR_HYPURA_BUSY when all sequences that were budgeted at load are open; ERR_HYPURA_INVALID_ARGUMENT with the option. */
  createSequence(options: SequenceOptions = {}): Sequence {
    const { client } = checkSequenceOptions(options)
    this.#assertOpen()
    const { engine, plan, description, paths } = this.#parts
    const most = plan.regions.nSequences
    if (this.#open.size >= most) throw new HypuraError('ERR_HYPURA_BUSY', `all ${most} sequences that were budgeted are open: close one, or load with sequencesMax ${most + 1}`, { found: most })
    const number = client === undefined ? 0 : this.#clients.open(client)
    const release = (): void => {
      if (client !== undefined) this.#clients.close(client)
    }
    const native = ((): NativeSequence => {
      try {
        return callNative(() => engine.createSequence(number), paths)
      } catch (error) {
        release()
        throw error
      }
    })()
    const sequence: Sequence = new Sequence({
      native, paths,
      tokenizer: () => this.tokenizer,
      contextLength: plan.contextLength,
      vocabularySize: description.spec.nVocab,
      logitsRows: plan.regions.logitsRows,
      onClose: () => {
        this.#open.delete(sequence)
        release()
      },
      onBusy: (busy) => this.#setBusy(busy),
    })
    this.#open.add(sequence)
    return sequence
  }

  /**
   * Gives memory back, or takes it again: bands and experts leave and are read again when they are needed, so tokens stay the
   * same and only their speed changes. Takes effect between two sweeps, and one that hands out logits ends when they were taken:
   * do not wait for it in the sink of evaluate(). From here on this is the most that `elastic` goes up to.
   *
   * @param memory at most what the model was loaded with; 'auto': as much of that as the tightest limit has room for
   * @returns the budget in force, which exceeds what was asked for by the half-used huge pages at its edges
   * Errors: ERR_HYPURA_INSUFFICIENT_MEMORY below what the loaded model needs at least, or when memory cannot come back;
   * ERR_HYPURA_INVALID_ARGUMENT above what was loaded, ERR_HYPURA_UNSUPPORTED in the modes 'mmap' and 'bare', ERR_HYPURA_IO.
   */
  async resize(memory: Size): Promise<number> {
    this.#assertOpen()
    const cache = this.#memory
    if (cache === undefined) throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `mode ${this.plan.mode} has no cache that could be resized: load with mode auto`, { field: 'memory' })
    const size = parseSize(memory)
    const limit = tightestLimit(memoryLimits())
    const autoBytes = Math.max(cache.leastBytes, autoBudgetBytes({ ...limit, availableBytes: limit.availableBytes + cache.arenaBytes }))
    const asked = resolveSize(size, { totalBytes: limit.limitBytes, autoBytes })
    const inForce = await cache.resize(size.kind === 'bytes' ? asked : Math.min(asked, cache.budgetMostBytes))
    this.#monitor?.setMost(cache.plan.chosen.total)
    return inForce
  }

  /** Counters of the engine since load. */
  stats(): ModelStats {
    this.#assertOpen()
    return counters(this.#parts.engine)
  }

  /** What each copy of the model has given since load, the model's own files first. Readable after closing, too. */
  driveShares(): readonly CopyShare[] {
    return this.#copies.shares()
  }

  /** How good guesses of the next layer's experts are, and what is done with them; undefined where nothing is guessed or known yet. */
  get guesses(): GuessReport | undefined {
    return this.#planner?.guesses
  }

  /** Plans that policy has sent down since load. */
  get plansSubmitted(): number {
    return this.#planner?.plans ?? 0
  }

  /**
   * Records which experts are chosen from here to the recording's end, as a trace (docs/formats/trace.md). The planner rests
   * meanwhile, which costs speed and changes no token.
   *
   * @param write takes each piece at once, synchronously; the array is reused
   * Errors: ERR_HYPURA_UNSUPPORTED_MODEL when the model is dense; ERR_HYPURA_BUSY while a sequence works or another recording runs.
   */
  async recordRoutes(write: (bytes: Uint8Array) => void): Promise<RouteRecording> {
    this.#assertOpen()
    const { description, plan, engine } = this.#parts
    const model = await traceModelOf(description, plan)
    this.#assertOpen()
    if (this.#recording !== undefined || this.#busy > 0) throw new HypuraError('ERR_HYPURA_BUSY', this.#busy > 0 ? 'a sequence is working: a recording begins before it does' : 'the choices of this model are being recorded already')
    return (this.#recording = new RouteRecording(engine, model, write, () => (this.#recording = undefined)))
  }

  /** Cancels what runs and gives everything back. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#recording?.abandon()
    this.#monitor?.close()
    for (const template of this.#templates) await template.close()
    // All at once: one may wait for another's reader.
    await Promise.all([...this.#open].map((sequence) => sequence.close()))
    const learnt = await this.#planner?.close()
    await awaitNative(this.#parts.engine.close(), this.#parts.paths)
    const { habits } = this.#parts
    const unsaved = [
      learnt?.use === undefined ? undefined : habits?.use.save(learnt.use),
      learnt?.relations === undefined ? undefined : habits?.relations?.save(learnt.relations),
    ]
    for (const warning of unsaved) if (warning !== undefined) this.#warnings.push(warning)
  }

  #setBusy(busy: boolean): void {
    this.#busy += busy ? 1 : -1
    // A recording is the one consumer of the events: the planner would take some away even by going to rest.
    if (this.#recording === undefined) this.#planner?.setActive(this.#busy > 0)
    this.#monitor?.setBusy(this.#busy > 0)
  }

  #cacheMemory(): CacheMemory {
    const { plan, description: { manifest }, engine, options, paths } = this.#parts
    const loaded = { manifest, plan, ioDepth: options.io?.depth ?? ioDepthDefault }
    return new CacheMemory({ engine, loaded, paths, onPlan: (changed) => this.#planPool(changed) })
  }

  #watch(memory: CacheMemory): PressureMonitor {
    const { options } = this.#parts
    return new PressureMonitor({
      memory,
      follows: parseSize(options.memory ?? 'auto').kind === 'auto',
      watchPressure: (folder) => loadBinding().watchPressure(folder),
      onChange: (change) => this.#tell(change),
      onWarning: (text) => this.#warnings.push(text),
    })
  }

  #tell(change: MemoryChange): void {
    try {
      this.#parts.options.onMemoryChange?.(change)
    } catch (error) {
      this.#warnings.push(`onMemoryChange threw: ${String(error)}`)
    }
  }

  /** Policy for a pool that does not hold every expert. */
  #planPool({ mode, regions }: ModelPlan): void {
    if (this.#planner !== undefined) return this.#planner.setRegions(regions)
    if (mode !== 'stream' || regions.poolSlots === 0 || this.#closing !== undefined) return
    const { engine, description, options } = this.#parts
    this.#planner = new PlannerHost(engine, {
      ...plannerBasis(description, { drive: this.#parts.plan.drive, regions }, options),
      guess: options.guess ?? 'auto',
      guessSource: options.guessSource ?? 'auto',
      before: { use: this.#parts.habits?.use.before, relations: this.#parts.habits?.relations?.before },
    }, (text) => this.#warnings.push(text))
    this.#planner.setActive(this.#recording === undefined && this.#busy > 0)
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new HypuraError('ERR_HYPURA_DISPOSED', 'the model was closed')
  }
}
