/**
 * Perplexity of a text: how well a model foretells it, window by window, counted as llama.cpp's perplexity tool counts.
 *
 * The text is cut into tokens with the model's begin token in front, where the model wants one (never an end token), and
 * these into windows of `windowTokens`; what is left at the end is not used. A window begins with an empty cache; its first
 * token is replaced by the begin token, where the model wants one. Of a window of n tokens those at n / 2 + 1 .. n - 1
 * (n / 2 rounded down) are scored, each given all before it in the window.
 *
 *   perplexity = e^mean(-ln p)      standardError = perplexity x sqrt(variance(-ln p) / (scored - 1))
 *
 * The error takes tokens as independent draws; two runs of the same text differ by far less than it says.
 */
import { z } from 'zod'
import { HypuraError } from '../base/errors.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Model } from './model.js'
import { check, integer, signal } from './options.js'
import type { Sequence } from './sequence.js'

/** llama.cpp's. */
export const perplexityWindowDefault = 512
/** Three tokens are scored. */
export const windowTokensLeast = 8

export interface PerplexityOptions {
  /** Tokens of a window: at least 8, at most the context that was loaded. Default 512. */
  readonly windowTokens?: number | undefined
  /** Windows to take, from the beginning of the text. Default: all that are full. */
  readonly windowsMax?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Told after each window what has come out so far. */
  readonly onWindow?: ((soFar: Perplexity, windows: number) => void) | undefined
}

export interface Perplexity {
  readonly perplexity: number
  readonly standardError: number
  /** Mean of -ln p over the scored tokens. */
  readonly meanNll: number
  readonly scoredTokens: number
  readonly windows: number
  readonly windowTokens: number
  /** Tokens evaluated per second, scoring included; loading not. */
  readonly tokensPerSecond: number
}

const shape = {
  windowTokens: integer(windowTokensLeast, 2 ** 24),
  windowsMax: integer(1, 2 ** 31 - 1),
  signal,
  onWindow: z.custom<NonNullable<PerplexityOptions['onWindow']>>((value) => typeof value === 'function', 'must be a function').optional(),
}
const schema = z.strictObject(shape)

/**
 * @param text plain text: control tokens in it are not looked for
 *
 * Takes one of the model's sequences while it works. Errors: those of perplexityWindows(); ERR_HYPURA_INVALID_ARGUMENT for windows
 * longer than the context; ERR_HYPURA_BUSY without a free sequence; those of evaluate().
 */
export async function measurePerplexity(model: Model, text: string, options: PerplexityOptions = {}): Promise<Perplexity> {
  const windows = perplexityWindows(model.tokenizer, text, options)
  const windowTokens = windows[0]!.length
  await using sequence = model.createSequence()
  if (windowTokens > sequence.contextLength) throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `windows of ${windowTokens} tokens do not fit a context of ${sequence.contextLength}: load with contextLength ${windowTokens}, or take smaller windows`, { field: 'windowTokens', found: windowTokens, allowed: `${windowTokensLeast} .. ${sequence.contextLength}` })
  const score = new Score(model.description.spec.nVocab, windowTokens)
  for (const window of windows) {
    sequence.truncate(0)
    await scoreWindow(sequence, window, score, options.signal)
    options.onWindow?.(score.result(), windows.length)
  }
  return score.result()
}

/**
 * The windows of a text, one token list each; reads no weights.
 *
 * Errors: ERR_HYPURA_INVALID_ARGUMENT for an option out of range, and for a text that fills no window, with both numbers.
 */
export function perplexityWindows(tokenizer: Tokenizer, text: string, given: PerplexityOptions = {}): number[][] {
  const { windowTokens = perplexityWindowDefault, windowsMax = Infinity } = check(schema, { '': shape }, given, 'perplexity options')
  const { bos, addBos } = tokenizer
  const tokens = [...(addBos ? [bos!] : []), ...tokenizer.encode(text)]
  const count = Math.min(windowsMax, Math.floor(tokens.length / windowTokens))
  if (count === 0) {
    const smaller = tokens.length >= windowTokensLeast ? `, or take windows of ${tokens.length} at most` : ''
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `the text has ${tokens.length} tokens, a window takes ${windowTokens}: give a longer text${smaller}`, { field: 'text', found: tokens.length, allowed: `at least ${windowTokens}` })
  }
  return Array.from({ length: count }, (_, i) => {
    const window = tokens.slice(i * windowTokens, (i + 1) * windowTokens)
    if (addBos) window[0] = bos!
    return window
  })
}

/** The first half needs no logits, and so no output head; the last token foretells nothing that is scored. */
async function scoreWindow(sequence: Sequence, window: readonly number[], score: Score, abort: AbortSignal | undefined): Promise<void> {
  const half = Math.floor(window.length / 2)
  await sequence.evaluate(window.slice(0, half), undefined, { signal: abort })
  await sequence.evaluate(window.slice(half, -1), (logits, first, rows) => {
    for (let row = 0; row < rows; row++) score.add(logits, row, window[first + row + 1]!)
  }, { signal: abort })
  score.endWindow()
}

/** Sums in double precision, token by token; the clock runs from its making. */
class Score {
  readonly #nVocab: number
  readonly #windowTokens: number
  readonly #began: number = performance.now()
  #nll = 0
  #squares = 0
  #count = 0
  #windows = 0

  constructor(nVocab: number, windowTokens: number) {
    this.#nVocab = nVocab
    this.#windowTokens = windowTokens
  }

  /** `target` is what came after row `row` of the logits. */
  add(logits: Float32Array, row: number, target: number): void {
    const begin = row * this.#nVocab
    const end = begin + this.#nVocab
    let max = -Infinity
    for (let i = begin; i < end; i++) if (logits[i]! > max) max = logits[i]!
    let sum = 0
    for (let i = begin; i < end; i++) sum += Math.exp(logits[i]! - max)
    const nll = max + Math.log(sum) - logits[begin + target]!
    this.#nll += nll
    this.#squares += nll * nll
    this.#count++
  }

  endWindow(): void {
    this.#windows++
  }

  result(): Perplexity {
    const meanNll = this.#nll / this.#count
    const variance = Math.max(0, this.#squares / this.#count - meanNll * meanNll)
    const perplexity = Math.exp(meanNll)
    const seconds = (performance.now() - this.#began) / 1000
    return {
      perplexity, meanNll,
      standardError: perplexity * Math.sqrt(variance / (this.#count - 1)),
      scoredTokens: this.#count,
      windows: this.#windows,
      windowTokens: this.#windowTokens,
      tokensPerSecond: (this.#windows * (this.#windowTokens - 1)) / seconds,
    }
  }
}
