/** Names in a template: a chain of scopes, the innermost first. */
import type { Value } from './template-values.js'

export class Scope {
  readonly #names = new Map<string, Value>()
  readonly #outer: Scope | undefined

  constructor(outer?: Scope) {
    this.#outer = outer
  }

  get(name: string): Value {
    for (let scope: Scope | undefined = this; scope; scope = scope.#outer) {
      if (scope.#names.has(name)) return scope.#names.get(name)
    }
    return undefined
  }

  set(name: string, value: Value): void {
    this.#names.set(name, value)
  }
}
