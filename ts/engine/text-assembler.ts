/** Tokens to text: whole characters only, nothing of a stop string, nothing of an end token. */
import { StopStrings } from '../tokenizer/stop-strings.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

export class TextAssembler {
  readonly tokens: number[] = []
  whole = ''
  stopString: string | undefined
  readonly #detokenizer: ReturnType<Tokenizer['detokenizer']>
  readonly #stops: StopStrings
  #pending = ''

  constructor(tokenizer: Tokenizer, stop: readonly string[]) {
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
