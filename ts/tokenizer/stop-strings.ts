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
  /** The stop string that was found, or undefined. Nothing after it is emitted. */
  readonly stop: string | undefined
}

export interface StopMatcher {
  push(text: string): StopResult
  /** The text that was held back, when the stream ends without a match. */
  end(): string
}

const nowhere: StopMatcher = { push: (text) => ({ text, stop: undefined }), end: () => '' }

/** @throws ERR_HYPURA_INVALID_ARGUMENT for an empty string: it would stop everywhere */
export function createStopMatcher(stops: readonly string[]): StopMatcher {
  if (stops.length === 0) return nowhere
  if (stops.some((stop) => stop.length === 0)) {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', 'A stop string is empty. Leave it out, or give at least one character.', { field: 'stop' })
  }
  const states = buildAutomaton(stops)
  let state = 0
  let held = ''
  let stopped: string | undefined
  return {
    push(text) {
      if (stopped !== undefined) return { text: '', stop: stopped }
      const all = held + text
      for (let i = held.length; i < all.length; i++) {
        state = step(states, state, all.charCodeAt(i))
        const stop = states[state]!.stop
        if (stop !== undefined) {
          stopped = stop
          held = ''
          return { text: all.slice(0, i + 1 - stop.length), stop }
        }
      }
      const keep = Math.min(states[state]!.depth, all.length)
      held = all.slice(all.length - keep)
      return { text: all.slice(0, all.length - keep), stop: undefined }
    },
    end() {
      const rest = held
      held = ''
      state = 0
      return rest
    },
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
