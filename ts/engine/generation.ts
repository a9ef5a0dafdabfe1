/**
 * One answer: an async iterable of chunks, and a promise of the whole.
 *
 * The engine runs ahead of the reader by a bounded number of tokens and then pauses, so a slow reader costs no memory.
 * Breaking out of `for await` cancels; so does the abort signal, within one layer.
 */
import { HypuraError } from '../base/errors.js'
import type { GenerateRequest, NativeSequence, SequenceState } from '../native/native-binding.js'
import { StopStrings } from '../tokenizer/stop-strings.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { callNative, fromNative } from './native-errors.js'
import { Wake } from './wake.js'

export type FinishReason = 'stop' | 'stop-string' | 'length' | 'context-full' | 'aborted'

export interface Usage {
  readonly promptTokens: number
  /** Tokens of the prompt that the sequence held already. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface Timings {
  /** From the request to the first token. */
  readonly timeToFirstTokenMs: number
  readonly prefillMs: number
  readonly decodeMs: number
  /** Tokens after the first one, per second of decoding; 0 when there was at most one. */
  readonly decodeTokensPerSecond: number
}

export type Chunk =
  | { readonly type: 'prompt-progress'; readonly text: ''; readonly processed: number; readonly total: number }
  | { readonly type: 'text'; readonly text: string; readonly tokens: readonly GeneratedToken[] }
  | { readonly type: 'finish'; readonly text: ''; readonly result: GenerationResult }

export interface GeneratedToken {
  readonly id: number
  /** Natural logarithm of the token's probability after penalties, before truncation. */
  readonly logProbability: number
}

export interface GenerationResult {
  readonly text: string
  readonly tokens: readonly number[]
  readonly reason: FinishReason
  readonly stopString?: string
  readonly usage: Usage
  readonly timings: Timings
  readonly seed: number
}

export interface GenerationSource {
  readonly native: NativeSequence
  readonly tokenizer: Tokenizer
  readonly request: GenerateRequest
  readonly cachedTokens: number
  readonly stop: readonly string[]
  /** The request's maxTokens is what the context still holds, not what the caller asked for. */
  readonly limitedByContext: boolean
  readonly signal: AbortSignal | undefined
  readonly stopOnAbortSignal: boolean
  readonly paths: readonly string[]
  /** Called once, when the native side is idle again; `kept`: generated tokens that belong to the timeline. */
  readonly onEnd: (kept: readonly number[]) => void
}

const recordWords = 4
const pollMs = 100

export class Generation implements AsyncIterable<Chunk>, PromiseLike<GenerationResult> {
  readonly #source: GenerationSource
  readonly #wake = new Wake()
  readonly #startedAt = performance.now()
  readonly #chunks: AsyncGenerator<Chunk, void, undefined>
  readonly #result: Promise<GenerationResult>
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void }
  #consumed = false
  #abandoned = false

  constructor(source: GenerationSource) {
    this.#source = source
    this.#result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#result.catch(() => undefined) // an iterating caller sees the error there
    source.signal?.throwIfAborted()
    source.signal?.addEventListener('abort', this.#onAbort, { once: true })
    callNative(() => source.native.start(source.request, () => this.#wake.raise()), source.paths)
    this.#chunks = this.#run()
  }

  /** Ends the answer as soon as the current layer is done; what was generated stays, with reason 'aborted'. */
  cancel(): void {
    this.#abandoned = true
    this.#source.native.cancel()
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk> {
    if (this.#consumed) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'this generation is being read already; read it once, or await it')
    this.#consumed = true
    return this.#chunks
  }

  async *textStream(): AsyncGenerator<string, void, undefined> {
    for await (const chunk of this) if (chunk.text !== '') yield chunk.text
  }

  then<A = GenerationResult, B = never>(onResult?: ((result: GenerationResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    if (!this.#consumed) {
      this.#consumed = true
      void this.#drain()
    }
    return this.#result.then(onResult, onError)
  }

  readonly #onAbort = (): void => this.#source.native.cancel()

  async #drain(): Promise<void> {
    try {
      while ((await this.#chunks.next()).done !== true);
    } catch {
      // the promise carries it
    }
  }

  async *#run(): AsyncGenerator<Chunk, void, undefined> {
    const { native, request, signal } = this.#source
    const text = new TextAssembler(this.#source)
    const records = new Uint32Array(64 * recordWords)
    const floats = new Float32Array(records.buffer)
    let shownProgress = -1
    let firstTokenAt = 0
    let finished = false
    try {
      for (;;) {
        const state = native.state()
        const count = text.stopString === undefined ? native.drainTokens(records) : 0
        if (count > 0 && firstTokenAt === 0) firstTokenAt = performance.now()
        const tokens: GeneratedToken[] = []
        for (let i = 0; i < count && text.stopString === undefined; i++) {
          const id = records[i * recordWords]!
          const isStop = (records[i * recordWords + 3]! & 1) === 1
          tokens.push({ id, logProbability: floats[i * recordWords + 2]! })
          text.push(id, isStop)
        }
        if (tokens.length > 0) yield { type: 'text', text: text.take(), tokens }
        if (text.stopString !== undefined) {
          native.cancel()
          await this.#idle()
          break
        }
        if (count > 0) continue
        if (state.phase === 'done') break
        if (state.phase === 'prefill' && state.promptProcessed !== shownProgress) {
          shownProgress = state.promptProcessed
          yield { type: 'prompt-progress', text: '', processed: shownProgress, total: state.promptTotal }
        }
        await this.#wake.wait(pollMs)
      }
      const state = native.state()
      if (state.error !== null) throw fromNative(state.error, this.#source.paths)
      if (signal?.aborted === true && state.finishReason === 'cancelled' && !this.#source.stopOnAbortSignal) throw signal.reason
      const rest = text.end()
      if (rest !== '') yield { type: 'text', text: rest, tokens: [] }
      finished = true
      const result = this.#finish(text, state, firstTokenAt)
      this.#settle.resolve(result)
      yield { type: 'finish', text: '', result }
    } catch (error) {
      finished = true
      await this.#end(text)
      this.#settle.reject(error)
      throw error
    } finally {
      if (!finished) { // the reader left: cancel, and keep what there is
        this.#abandoned = true
        native.cancel()
        await this.#idle()
        this.#settle.resolve(this.#finish(text, native.state(), firstTokenAt))
      }
      signal?.removeEventListener('abort', this.#onAbort)
    }
  }

  /** Until the native side has nothing left to do. */
  async #idle(): Promise<void> {
    const rest = new Uint32Array(64 * recordWords)
    for (;;) {
      this.#source.native.drainTokens(rest)
      const { phase } = this.#source.native.state()
      if (phase === 'done' || phase === 'idle') return
      await this.#wake.wait(pollMs)
    }
  }

  async #end(text: TextAssembler): Promise<void> {
    this.#source.native.cancel()
    await this.#idle()
    this.#source.onEnd(text.tokens)
  }

  #finish(text: TextAssembler, state: SequenceState, firstTokenAt: number): GenerationResult {
    const { request, cachedTokens } = this.#source
    this.#source.onEnd(text.tokens)
    const decodeMs = state.decodeNs / 1e6
    const n = text.tokens.length
    return {
      text: text.whole,
      tokens: text.tokens,
      reason: this.#reason(text, state),
      ...(text.stopString === undefined ? {} : { stopString: text.stopString }),
      usage: { promptTokens: request.tokens.length + cachedTokens, cachedTokens, completionTokens: n },
      timings: {
        timeToFirstTokenMs: firstTokenAt === 0 ? 0 : firstTokenAt - this.#startedAt,
        prefillMs: state.prefillNs / 1e6,
        decodeMs,
        decodeTokensPerSecond: n > 1 && decodeMs > 0 ? ((n - 1) * 1000) / decodeMs : 0,
      },
      seed: request.sampling.seed,
    }
  }

  #reason(text: TextAssembler, state: SequenceState): FinishReason {
    if (text.stopString !== undefined) return 'stop-string'
    if (this.#abandoned && state.finishReason === 'cancelled') return 'aborted'
    switch (state.finishReason) {
      case 'stop-token': return 'stop'
      case 'length': return this.#source.limitedByContext ? 'context-full' : 'length'
      case 'context-full': return 'context-full'
      default: return 'aborted'
    }
  }
}

/** Tokens to text: whole characters only, nothing of a stop string, nothing of an end token. */
class TextAssembler {
  readonly tokens: number[] = []
  whole = ''
  stopString: string | undefined
  readonly #detokenizer: ReturnType<Tokenizer['detokenizer']>
  readonly #stops: StopStrings
  #pending = ''

  constructor({ tokenizer, stop }: GenerationSource) {
    this.#detokenizer = tokenizer.detokenizer({ continuation: true })
    this.#stops = new StopStrings(stop)
  }

  push(id: number, isStopToken: boolean): void {
    this.tokens.push(id)
    if (!isStopToken) this.#match(this.#detokenizer.push(id))
  }

  /** What may be shown since the last call. */
  take(): string {
    const text = this.#pending
    this.#pending = ''
    return text
  }

  /** The rest that was held back, when no stop string came. */
  end(): string {
    if (this.stopString === undefined) {
      this.#match(this.#detokenizer.end())
      if (this.stopString === undefined) this.#append(this.#stops.end())
    }
    return this.take()
  }

  #match(text: string): void {
    if (text === '') return
    const { text: safe, matched } = this.#stops.push(text)
    this.#append(safe)
    this.stopString = matched
  }

  #append(text: string): void {
    this.#pending += text
    this.whole += text
  }
}
