/**
 * Numbers for the clients of a model's sequences, which is all that the engine and the planner know of them. A number is never used again,
 * so what was learnt under one cannot serve whoever comes later.
 *
 * Names are kept while a sequence of theirs is open, and the most recent ones after that; a client whose name was forgotten begins anew.
 */

/** As many as predictors keep tables of, and some more. */
const namesMax = 64

export class ClientNumbers {
  /** The least recent first. */
  readonly #numbers = new Map<string, number>()
  readonly #open = new Map<string, number>()
  #last = 0

  /** A sequence of this client begins: close() must follow. */
  open(name: string): number {
    const number = this.#numbers.get(name) ?? ++this.#last
    this.#numbers.delete(name)
    this.#numbers.set(name, number)
    this.#open.set(name, (this.#open.get(name) ?? 0) + 1)
    this.#forget()
    return number
  }

  close(name: string): void {
    const left = (this.#open.get(name) ?? 1) - 1
    if (left === 0) this.#open.delete(name)
    else this.#open.set(name, left)
    this.#forget()
  }

  get size(): number {
    return this.#numbers.size
  }

  #forget(): void {
    for (const name of this.#numbers.keys()) {
      if (this.#numbers.size <= namesMax) return
      if (!this.#open.has(name)) this.#numbers.delete(name)
    }
  }
}
