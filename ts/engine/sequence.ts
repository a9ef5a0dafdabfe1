/**
 * One timeline of tokens with its KV pages: what a conversation or a completion grows on.
 *
 * A sequence answers one request at a time. Its pages were allocated when the model was loaded; close it to give them back.
 */
import { HypuraError } from '../base/errors.js'
import type { GenerateRequest, NativeSequence, SamplingOptions } from '../native/native-binding.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { Generation } from './generation.js'
import { awaitNative, callNative, fromNative } from './native-errors.js'
import { checkEvaluateOptions, checkGenerateOptions, type EvaluateOptions, type GenerateOptions } from './options.js'
import { Wake } from './wake.js'

const pendingTokensMaxDefault = 1024
const pollMs = 100

/**
 * Called with rows [firstPosition, firstPosition + rows) of logits, n_vocab floats each; the array is reused.
 * Other sequences of the model stand still while it works: it must not wait for them.
 */
export type LogitsSink = (logits: Float32Array, firstPosition: number, rows: number) => void | Promise<void>

export interface SequenceParts {
  readonly native: NativeSequence
  /** Made on first use: evaluating token ids needs none. */
  readonly tokenizer: () => Tokenizer
  readonly contextLength: number
  readonly vocabularySize: number
  readonly logitsRows: number
  readonly paths: readonly string[]
  readonly onClose: () => void
  /** Called when the sequence begins and ends to work. */
  readonly onBusy: (busy: boolean) => void
}

export class Sequence implements AsyncDisposable {
  readonly #parts: SequenceParts
  /** The timeline. Its last tokens may not be in the cache yet: a sampled token is evaluated with the next request. */
  #tokens: number[] = []
  #evaluated = 0
  #busy = false
  #closed = false

  constructor(parts: SequenceParts) {
    this.#parts = parts
  }

  /** The timeline: everything that was given and generated, oldest first. */
  get tokens(): readonly number[] {
    return this.#tokens
  }

  get contextLength(): number {
    return this.#parts.contextLength
  }

  /**
   * Appends `prompt` to the timeline and generates. A text is tokenised with the model's begin token at position 0 only,
   * and control tokens in it stay plain text; pass tokens to control both.
   *
   * Errors: ERR_HYPURA_BUSY, ERR_HYPURA_CONTEXT_OVERFLOW (both numbers in `details`), ERR_HYPURA_INVALID_ARGUMENT.
   */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    const checked = checkGenerateOptions(options)
    this.#assertReady()
    const tokens = typeof prompt === 'string' ? [...this.#parts.tokenizer().encode(prompt, { addSpecial: this.#tokens.length === 0 })] : prompt
    return this.#start(this.#tokens.length, tokens, 0, checked)
  }

  /**
   * As generate(), for a timeline given from its beginning: what the sequence holds of it already is kept and not evaluated
   * again, what differs is forgotten.
   */
  generateFrom(timeline: readonly number[], options: GenerateOptions = {}): Generation {
    const checked = checkGenerateOptions(options)
    this.#assertReady()
    assertTokens(timeline)
    let kept = 0
    while (kept < this.#evaluated && kept < timeline.length - 1 && this.#tokens[kept] === timeline[kept]) kept++
    return this.#start(kept, timeline.slice(kept), kept, checked)
  }

  /**
   * Evaluates tokens without generating; with a sink, every position's logits are handed to it in order (teacher forcing).
   * A token that was sampled last and not evaluated yet comes first. What was evaluated before an abort or an error stays.
   */
  async evaluate(tokens: readonly number[], sink?: LogitsSink, given: EvaluateOptions = {}): Promise<void> {
    const options = checkEvaluateOptions(given)
    this.#assertReady()
    this.#checkPrompt(this.#tokens.length, tokens)
    options.signal?.throwIfAborted()
    const held = this.#tokens.length
    if (held + tokens.length === this.#evaluated) return
    const { native, vocabularySize, logitsRows, paths } = this.#parts
    const wake = new Wake()
    const wanted = [...this.#tokens.slice(this.#evaluated), ...tokens]
    const request = { tokens: Uint32Array.from(wanted), maxTokens: 0, stopTokens: new Uint32Array(0), sampling: greedy, logits: sink === undefined ? 'none' : 'all', pendingTokensMax: 1 } as const
    const rows = sink === undefined ? undefined : new Float32Array(vocabularySize * logitsRows)
    const first = this.#evaluated
    const cancel = (): void => native.cancel()
    this.#setBusy(true)
    try {
      callNative(() => native.start(request, () => wake.raise()), paths)
      options.signal?.addEventListener('abort', cancel, { once: true })
      for (let position = 0; ;) {
        const state = native.state()
        const count = rows === undefined ? 0 : native.drainLogits(rows)
        if (count > 0) {
          await sink!(rows!.subarray(0, count * vocabularySize), first + position, count)
          position += count
          continue
        }
        options.onProgress?.({ processed: state.promptProcessed, total: state.promptTotal })
        if (state.phase === 'done') {
          if (state.error !== null) throw fromNative(state.error, paths)
          if (state.finishReason === 'cancelled') throw options.signal?.reason ?? new HypuraError('ERR_HYPURA_CANCELLED', 'the evaluation was cancelled')
          break
        }
        await wake.wait(pollMs)
      }
    } catch (error) {
      native.cancel()
      while (!['done', 'idle'].includes(native.state().phase)) {
        if (rows !== undefined) native.drainLogits(rows)
        await wake.wait(pollMs)
      }
      throw error
    } finally {
      options.signal?.removeEventListener('abort', cancel)
      this.#evaluated = native.state().length
      this.#tokens = [...this.#tokens, ...tokens].slice(0, Math.max(this.#evaluated, held))
      this.#setBusy(false)
    }
  }

  /** Forgets positions from `length` on. */
  truncate(length: number): void {
    this.#assertReady()
    if (!Number.isInteger(length) || length < 0) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `cannot truncate to ${length} positions`)
    if (length < this.#evaluated) {
      callNative(() => this.#parts.native.truncate(length), this.#parts.paths)
      this.#evaluated = length
    }
    if (length < this.#tokens.length) this.#tokens.length = length
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await awaitNative(this.#parts.native.close())
    this.#parts.onClose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Forgets positions from `keep` on, appends `tokens`, generates. Nothing is forgotten when the request is refused. */
  #start(keep: number, tokens: readonly number[], cachedTokens: number, options: GenerateOptions): Generation {
    const { native, contextLength, paths } = this.#parts
    const tokenizer = this.#parts.tokenizer()
    this.#checkPrompt(keep, tokens)
    if (keep <= this.#evaluated && tokens.length === 0) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'the prompt is empty: there is no token to continue from')
    if (options.stopOnAbortSignal !== true) options.signal?.throwIfAborted()
    this.truncate(keep)
    const before = [...this.#tokens, ...tokens]
    const request: GenerateRequest = {
      tokens: Uint32Array.from(before.slice(this.#evaluated)),
      maxTokens: Math.min(options.maxTokens ?? Infinity, contextLength - before.length + 1),
      stopTokens: options.ignoreEndTokens === true ? new Uint32Array(0) : Uint32Array.from(tokenizer.endTokens),
      sampling: samplingOf(options),
      logits: 'none',
      pendingTokensMax: options.pendingTokensMax ?? pendingTokensMaxDefault,
    }
    // The addon would call it 'length'; the caller asked for more than the context holds.
    const limitedByContext = request.maxTokens < (options.maxTokens ?? Infinity)
    this.#setBusy(true)
    try {
      return new Generation({
        native, tokenizer, request, cachedTokens, limitedByContext, paths,
        promptTokens: cachedTokens + tokens.length,
        stop: options.stop ?? [],
        signal: options.signal,
        stopOnAbortSignal: options.stopOnAbortSignal ?? false,
        onEnd: (generated) => {
          if (!this.#busy) return
          this.#tokens = [...before, ...generated]
          this.#evaluated = native.state().length
          // After a stop string the cache may hold tokens that were never delivered.
          if (this.#evaluated > this.#tokens.length && !this.#closed) {
            native.truncate(this.#tokens.length)
            this.#evaluated = this.#tokens.length
          }
          // After an error or a cancelled prompt it may hold fewer than were given: of those, the others are forgotten.
          if (this.#evaluated < before.length) this.#tokens.length = Math.max(this.#evaluated, keep)
          this.#setBusy(false)
        },
      })
    } catch (error) {
      this.#setBusy(false)
      throw error
    }
  }

  /** Can `tokens` follow the first `keep` positions? */
  #checkPrompt(keep: number, tokens: readonly number[]): void {
    assertTokens(tokens)
    const { contextLength, vocabularySize } = this.#parts
    const need = keep + tokens.length
    if (need > contextLength) {
      throw new HypuraError('ERR_HYPURA_CONTEXT_OVERFLOW', `the prompt needs ${need} positions, the context holds ${contextLength}: shorten it, or load with a larger context (--ctx-size ${need + 256})`, { need, have: contextLength })
    }
    const wrong = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabularySize)
    if (wrong >= 0) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `token ${wrong} of the prompt is ${String(tokens[wrong])}, which is not in the vocabulary of ${vocabularySize} tokens`, { found: String(tokens[wrong]), allowed: `0 .. ${vocabularySize - 1}`, index: wrong })
  }

  #assertReady(): void {
    if (this.#closed) throw new HypuraError('ERR_HYPURA_DISPOSED', 'the sequence was closed')
    if (this.#busy) throw new HypuraError('ERR_HYPURA_BUSY', 'the sequence is working on another request: await it, cancel it, or use a second sequence')
  }

  #setBusy(busy: boolean): void {
    if (this.#busy === busy) return
    this.#busy = busy
    this.#parts.onBusy(busy)
  }
}

function assertTokens(tokens: unknown): asserts tokens is readonly number[] {
  if (!Array.isArray(tokens)) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'a prompt is a text or an array of token ids')
}

const greedy: SamplingOptions = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0, frequencyPenalty: 0, presencePenalty: 0, seed: 0 }

function samplingOf(options: GenerateOptions): SamplingOptions {
  return {
    temperature: options.temperature ?? 0.8,
    topK: options.topK ?? 40,
    topP: options.topP ?? 0.95,
    minP: options.minP ?? 0.05,
    repeatPenalty: options.repeatPenalty ?? 1,
    repeatLastN: options.repeatLastN ?? 64,
    frequencyPenalty: options.frequencyPenalty ?? 0,
    presencePenalty: options.presencePenalty ?? 0,
    seed: options.seed ?? Math.floor(Math.random() * 2 ** 32),
  }
}
