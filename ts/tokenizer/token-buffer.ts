/** A growing list of token ids. */
export class TokenBuffer {
  #ids: Uint32Array = new Uint32Array(256)
  #length = 0

  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const grown = new Uint32Array(this.#length * 2)
      grown.set(this.#ids)
      this.#ids = grown
    }
    this.#ids[this.#length++] = id
  }

  /** A copy of what was pushed. */
  take(): Uint32Array {
    return this.#ids.slice(0, this.#length)
  }
}
