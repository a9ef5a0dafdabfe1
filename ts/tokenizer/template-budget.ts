/** Counts what one rendering spends, and stops it. Time is watched from outside: see template-runner.ts. */
import type { TemplateLimits } from './limits.js'
import { TemplateFailure } from './template-failure.js'

export class Budget {
  readonly limits: TemplateLimits
  readonly #textMax: number
  #steps = 0
  #depth = 0
  #deepest = 0
  #macroDepth = 0
  #rangeItems = 0

  /** @param inputUnits size of what was passed in: texts may be that much longer */
  constructor(limits: TemplateLimits, inputUnits: number) {
    this.limits = limits
    this.#textMax = limits.textUnits + inputUnits
  }

  get steps(): number {
    return this.#steps
  }

  get deepest(): number {
    return this.#deepest
  }

  step(count: number = 1): void {
    this.#steps += count
    if (this.#steps > this.limits.steps) {
      throw new TemplateFailure('steps', `more than ${this.limits.steps} steps`)
    }
  }

  /** Runs one level deeper. */
  nested<T>(run: () => T): T {
    this.enter()
    const result = run()
    this.leave()
    return result
  }

  /** `leave` is not called when a failure passes: it ends the rendering. */
  enter(): void {
    if (++this.#depth > this.limits.depth) {
      throw new TemplateFailure('depth', `nested more than ${this.limits.depth} deep`)
    }
    if (this.#depth > this.#deepest) this.#deepest = this.#depth
  }

  leave(): void {
    this.#depth--
  }

  macro<T>(run: () => T): T {
    if (++this.#macroDepth > this.limits.macroDepth) {
      throw new TemplateFailure('depth', `macros call each other more than ${this.limits.macroDepth} deep`)
    }
    const result = run()
    this.#macroDepth--
    return result
  }

  /** Returns the text if it is not too long. */
  text(text: string): string {
    this.textOf(text.length)
    return text
  }

  /** Checks a length before a text of that length is made. */
  textOf(units: number): void {
    if (units > this.#textMax) throw new TemplateFailure('size', `a text longer than ${this.#textMax} characters`)
  }

  listOf(items: number): void {
    if (items > this.limits.listItems) throw new TemplateFailure('size', `a list of more than ${this.limits.listItems} items`)
    this.step(items >> 4)
  }

  rangeOf(items: number): void {
    this.#rangeItems += Math.max(0, items)
    if (items > this.limits.rangeItems || this.#rangeItems > this.limits.rangeItemsInAll) {
      throw new TemplateFailure('size', `range() of more than ${this.limits.rangeItems} items, or ${this.limits.rangeItemsInAll} in all`)
    }
  }
}
