/** A cleared list keeps its memory up to here: 4 MiB. */
const keptItems = 1 << 20

/** A growing list of 32-bit numbers: ends of pieces, ids of tokens. Plain arrays of a million would burden the collector. */
export class NumberList {
  #items: Uint32Array = new Uint32Array(64)
  #length = 0

  push(item: number): void {
    if (this.#length === this.#items.length) {
      const grown = new Uint32Array(this.#length * 2)
      grown.set(this.#items)
      this.#items = grown
    }
    this.#items[this.#length++] = item
  }

  clear(): void {
    this.#length = 0
    if (this.#items.length > keptItems) this.#items = new Uint32Array(64)
  }

  /** The last item, or undefined. */
  get last(): number | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#length - 1]
  }

  /** The items so far, as a view: read it before the next push. */
  take(): Uint32Array {
    return this.#items.subarray(0, this.#length)
  }
}
