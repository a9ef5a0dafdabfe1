/**
 * Finds stop strings in streamed text and holds back what may still become one.
 *
 * One automaton for all strings (Aho and Corasick 1975): each character is looked at once, whatever the strings are,
 * and the depth of the state is the number of characters held back. The match that ends first wins; of those that end
 * at the same character, the longest, so that the least text is emitted.
 */
import { HypuraError } from '../base/errors.js'

export interface StopResult {
  /** Text that can no longer be part of a stop string. */
  readonly text: string
  /** The stop string that was found; nothing from it on is emitted. */
  readonly matched: string | undefined
}

/** One per stream. Deciding whether text may be shown costs one step per character. */
export class StopStrings {
  readonly #states: readonly State[]
  #state = 0
  /** What may still become a stop string: as many characters as the state is deep. */
  #held = ''
  #matched: string | undefined

  /** @throws ERR_HYPURA_INVALID_ARGUMENT for an empty string: it would stop everywhere */
  constructor(stops: readonly string[]) {
    if (stops.includes('')) {
      throw new HypuraError(
        'ERR_HYPURA_INVALID_ARGUMENT', 'A stop string is empty. Leave it out, or give at least one character.', { field: 'stop' },
      )
    }
    this.#states = buildAutomaton(stops)
  }

  push(text: string): StopResult {
    if (this.#matched !== undefined) return { text: '', matched: this.#matched }
    const before = this.#held.length
    for (let i = 0; i < text.length; i++) {
      this.#state = step(this.#states, this.#state, text.charCodeAt(i))
      const { stop } = this.#states[this.#state]!
      if (stop === undefined) continue
      this.#matched = stop
      const shown = (this.#held + text.slice(0, i + 1)).slice(0, before + i + 1 - stop.length)
      this.#held = ''
      return { text: shown, matched: stop }
    }
    const all = this.#held + text
    const shown = all.length - this.#states[this.#state]!.depth
    this.#held = all.slice(shown)
    return { text: all.slice(0, shown), matched: undefined }
  }

  /** What was held back, when the stream ends without a match. Starts anew. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    this.#state = 0
    this.#matched = undefined
    return rest
  }
}

interface State {
  readonly next: Map<number, number>
  readonly depth: number
  fallback: number
  /** The longest stop string that ends in this state. */
  stop: string | undefined
}

function buildAutomaton(stops: readonly string[]): State[] {
  const states: State[] = [{ next: new Map(), depth: 0, fallback: 0, stop: undefined }]
  for (const stop of stops) {
    let at = 0
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i)
      let next = states[at]!.next.get(unit)
      if (next === undefined) {
        next = states.length
        states[at]!.next.set(unit, next)
        states.push({ next: new Map(), depth: i + 1, fallback: 0, stop: undefined })
      }
      at = next
    }
    states[at]!.stop = stop
  }
  // Breadth first, so that a state's fallback, which is shallower, is complete.
  const queue = [...states[0]!.next.values()]
  for (let i = 0; i < queue.length; i++) {
    const state = states[queue[i]!]!
    state.stop ??= states[state.fallback]!.stop
    for (const [unit, next] of state.next) {
      states[next]!.fallback = step(states, state.fallback, unit)
      queue.push(next)
    }
  }
  return states
}

function step(states: readonly State[], from: number, unit: number): number {
  for (let at = from; ; at = states[at]!.fallback) {
    const next = states[at]!.next.get(unit)
    if (next !== undefined) return next
    if (at === 0) return 0
  }
}
