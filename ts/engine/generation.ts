/**
 * One answer: an async iterable of chunks, and a promise of the whole.
 *
 * The engine runs ahead of the reader by a bounded number of tokens and then pauses, so a slow reader costs no memory.
 * Breaking out of `for await` cancels; so does the abort signal, within one layer.
 */
import { HypuraError } from '../base/errors.js'
import type { GenerateRequest, NativeSequence, SequenceState } from '../native/native-binding.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { callNative, fromNative } from './native-errors.js'
import { TextAssembler } from './text-assembler.js'
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
  /** Of the caller's prompt: all of it, and what the sequence held already. */
  readonly promptTokens: number
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
const neverStarted: Pick<SequenceState, 'finishReason' | 'prefillNs' | 'decodeNs'> = { finishReason: 'cancelled', prefillNs: 0, decodeNs: 0 }

export class Generation implements AsyncIterable<Chunk>, PromiseLike<GenerationResult> {
  readonly #source: GenerationSource
  readonly #wake = new Wake()
  readonly #startedAt = performance.now()
  readonly #chunks: AsyncGenerator<Chunk, void, undefined>
  readonly #result: Promise<GenerationResult>
  #settle!: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void }
  /** Nobody yet; the caller; or nobody any more: it was cancelled before anyone came, and runs to its end by itself. */
  #reader: 'none' | 'caller' | 'itself' = 'none'

  /** Errors: the addon's, when the request cannot start. With a signal that is aborted already nothing is started. */
  constructor(source: GenerationSource) {
    this.#source = source
    this.#result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#result.catch(() => undefined) // an iterating caller sees the error there
    this.#chunks = this.#run()
    if (source.signal?.aborted === true) {
      this.#reader = 'itself'
      this.#settle.resolve(this.#finish(new TextAssembler(source.tokenizer, source.stop), neverStarted, 0))
      return
    }
    callNative(() => source.native.start(source.request, () => this.#wake.raise()), source.paths)
    source.signal?.addEventListener('abort', this.#stop, { once: true })
  }

  /** Ends the answer as soon as the current layer is done; what was generated stays, with reason 'aborted'. */
  cancel(): void {
    this.#stop()
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk> {
    if (this.#reader === 'caller') throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'this generation is being read already; read it once, or await it')
    const chunks = this.#reader === 'none' ? this.#chunks : this.#ended()
    this.#reader = 'caller'
    let begun = false
    return {
      next: () => {
        begun = true
        return chunks.next()
      },
      return: async () => {
        // A generator that never ran has no `finally` that would cancel.
        if (!begun && chunks === this.#chunks) {
          this.#source.native.cancel()
          await this.#drain()
        }
        return chunks.return()
      },
    }
  }

  /** The text alone. It counts as reading: from the call on, not from the first piece. */
  textStream(): AsyncIterableIterator<string, void> {
    const chunks = this[Symbol.asyncIterator]()
    return {
      [Symbol.asyncIterator]() {
        return this
      },
      next: async () => {
        for (;;) {
          const { done, value } = await chunks.next()
          if (done === true) return { done, value: undefined }
          if (value.text !== '') return { done: false, value: value.text }
        }
      },
      return: async () => {
        await chunks.return!()
        return { done: true, value: undefined }
      },
    }
  }

  then<A = GenerationResult, B = never>(onResult?: ((result: GenerationResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    if (this.#reader === 'none') void this.#drain()
    this.#reader = 'caller'
    return this.#result.then(onResult, onError)
  }

  readonly #stop = (): void => {
    this.#source.native.cancel()
    if (this.#reader !== 'none') return
    // The sequence must come free although nobody reads.
    this.#reader = 'itself'
    void this.#drain()
  }

  async #drain(): Promise<void> {
    try {
      while ((await this.#chunks.next()).done !== true);
    } catch {
      // the promise carries it
    }
  }

  /** For a reader who comes after the end. */
  async *#ended(): AsyncGenerator<Chunk, void, undefined> {
    yield { type: 'finish', text: '', result: await this.#result }
  }

  async *#run(): AsyncGenerator<Chunk, void, undefined> {
    const { native, request, signal } = this.#source
    const text = new TextAssembler(this.#source.tokenizer, this.#source.stop)
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
        native.cancel()
        await this.#idle()
        this.#settle.resolve(this.#finish(text, native.state(), firstTokenAt))
      }
      signal?.removeEventListener('abort', this.#stop)
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

  #finish(text: TextAssembler, state: typeof neverStarted, firstTokenAt: number): GenerationResult {
    const { request, promptTokens, cachedTokens } = this.#source
    this.#source.onEnd(text.tokens)
    const decodeMs = state.decodeNs / 1e6
    const n = text.tokens.length
    return {
      text: text.whole,
      tokens: text.tokens,
      reason: this.#reason(text, state),
      ...(text.stopString === undefined ? {} : { stopString: text.stopString }),
      usage: { promptTokens, cachedTokens, completionTokens: n },
      timings: {
        timeToFirstTokenMs: firstTokenAt === 0 ? 0 : firstTokenAt - this.#startedAt,
        prefillMs: state.prefillNs / 1e6,
        decodeMs,
        decodeTokensPerSecond: n > 1 && decodeMs > 0 ? ((n - 1) * 1000) / decodeMs : 0,
      },
      seed: request.sampling.seed,
    }
  }

  #reason(text: TextAssembler, state: typeof neverStarted): FinishReason {
    if (text.stopString !== undefined) return 'stop-string'
    switch (state.finishReason) {
      case 'stop-token': return 'stop'
      case 'length': return this.#source.limitedByContext ? 'context-full' : 'length'
      case 'context-full': return 'context-full'
      default: return 'aborted'
    }
  }
}
