/**
 * Whether reading guessed experts ahead pays: decided by wall time alone, and taken back by the same evidence.
 *
 * Guesses are first scored in shadow; where they name too few of the experts that have to be read, they are left alone for a
 * while. Else a trial alternates windows of tokens without and with them, and they stay only if their tokens took at least
 * `gainLeast` less time. What a trial came to is in force until the next one; the pause doubles while trials end alike.
 * Pure: time comes with the events.
 */
import type { EngineEvent } from './events.js'
import type { GuessMode } from './plan.js'

export interface GuessTrials {
  observe(events: readonly EngineEvent[]): void
  /** For the next plan. */
  mode(): GuessMode
  /** In the last shadow phase: of the experts that had to be read, the share that was named; undefined before. */
  recall(): number | undefined
}

/** Tokens that are scored before a trial. */
const shadowTokens = 32
const recallLeast = 0.25
const windowTokens = 8
/** Of each kind in a trial. */
const windows = 4
const gainLeast = 0.03
const [pauseLeast, pauseMost] = [128, 8192]

const sides = ['off', 'prefetch'] as const satisfies readonly GuessMode[]

interface Trial {
  readonly side: 0 | 1
  /** Microseconds per token of the finished windows of each side. */
  readonly means: readonly [number[], number[]]
  /** Of the tokens of the window under way. */
  readonly times: number[]
}

type Phase = { readonly kind: 'shadow'; tokens: number; named: number; absent: number } | { readonly kind: 'rest'; tokens: number } | { readonly kind: 'trial'; trial: Trial }

const shadow = (): Phase => ({ kind: 'shadow', tokens: 0, named: 0, absent: 0 })

export function guessTrials(): GuessTrials {
  let inForce: (typeof sides)[number] = 'off'
  let phase = shadow()
  let pause: number = pauseLeast
  let recall: number | undefined
  let last: { readonly sweep: number; readonly mode: GuessMode } | undefined

  const decide = (mode: (typeof sides)[number]): void => {
    pause = mode === inForce ? Math.min(pauseMost, pause * 2) : pauseLeast
    inForce = mode
    phase = { kind: 'rest', tokens: pause }
  }

  const afterToken = (ran: GuessMode, microseconds: number): void => {
    if (phase.kind === 'trial') {
      phase = { kind: 'trial', trial: timed(phase.trial, ran, microseconds) }
      const { means: [without, withGuesses], times } = phase.trial
      if (withGuesses.length === windows && times.length === 0) decide(median(withGuesses) <= median(without) * (1 - gainLeast) ? 'prefetch' : 'off')
    } else if (phase.kind === 'rest') {
      if (--phase.tokens === 0) phase = shadow()
    } else if (ran === 'shadow' && ++phase.tokens === shadowTokens) {
      recall = phase.absent === 0 ? 0 : phase.named / phase.absent
      if (recall < recallLeast) decide('off')
      else phase = { kind: 'trial', trial: { side: 0, means: [[], []], times: [] } }
    }
  }

  return {
    observe(events) {
      for (const event of events) {
        if (event.kind === 'guess') {
          last = event
          if (phase.kind === 'shadow' && event.mode === 'shadow') {
            phase.named += event.correctAbsent
            phase.absent += event.absent
          }
        } else if (event.kind === 'token' && event.positions === 1) {
          afterToken(last?.sweep === event.sweep ? last.mode : 'off', event.computeMicroseconds + event.stallMicroseconds)
        }
      }
    },
    mode: () => (phase.kind === 'shadow' ? 'shadow' : phase.kind === 'rest' ? inForce : sides[phase.trial.side]),
    recall: () => recall,
  }
}

/** The trial after a token that ran in a mode; one that was made before the plan arrived does not count. */
function timed(trial: Trial, ran: GuessMode, microseconds: number): Trial {
  const { side, means, times } = trial
  if (ran !== sides[side]) return trial
  times.push(microseconds)
  if (times.length < windowTokens) return trial
  means[side].push(times.reduce((sum, time) => sum + time, 0) / times.length)
  return { side: side === 0 ? 1 : 0, means, times: [] }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
