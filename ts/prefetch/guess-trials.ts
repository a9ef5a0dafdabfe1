/**
 * Whether reading guessed experts ahead pays, and by whose guesses: decided by wall time alone, and taken back by the same evidence.
 *
 * There are two kinds of sources: the next layer's router, scored by the engine in shadow, and predictors that learn, scored while the
 * model runs (live-predictors.ts). A source that names too few of the experts that have to be read is left alone for a while. Else a
 * trial goes round windows of tokens without guesses and with each source's, and ends with the last of them, in this order, whose tokens took
 * at least `gainLeast` less time than those of the one it would replace: nothing, the router, the predictor. What a trial came to is in force
 * until the next one; the pause doubles while trials end alike.
 * Pure: time comes with the events.
 */
import type { EngineEvent } from './events.js'
import type { Candidate } from './live-predictors.js'
import type { GuessMode } from './plan.js'
import type { LearntSource } from './predictors/index.js'

export type GuessSource = 'router' | LearntSource

/** Guesses of a source, read ahead; or none. */
export type Arm = 'off' | GuessSource

export interface Guessing {
  readonly mode: GuessMode
  readonly source: GuessSource
}

export interface GuessTrials {
  observe(events: readonly EngineEvent[]): void
  /** For the next plan. */
  next(): Guessing
  /** In the last shadow phase: of the experts that had to be read, the share that the router named; undefined before. */
  recall(): number | undefined
  /** What the last trial came to; undefined before the first one. */
  decided(): Arm | undefined
}

export interface GuessSources {
  readonly router: boolean
  /** The predictor that could act, as far as is known. Asked when a trial may begin. */
  readonly learnt: () => Candidate | undefined
}

/** Tokens that are scored before a trial. */
const shadowTokens = 32
const recallLeast = 0.25
const windowTokens = 8
/** Of each arm in a trial. */
const windows = 4
const gainLeast = 0.03
const [pauseLeast, pauseMost] = [128, 8192]

interface Trial {
  /** `off` first, then as they are preferred where they are as good as each other. */
  readonly arms: readonly Arm[]
  /** Whose window is under way. */
  readonly at: number
  /** Microseconds per token of each arm's finished windows. */
  readonly means: readonly number[][]
  /** Of the tokens of the window under way. */
  readonly times: number[]
}

type Phase = { readonly kind: 'shadow'; tokens: number; named: number; absent: number } | { readonly kind: 'rest'; tokens: number } | { readonly kind: 'trial'; trial: Trial }

const shadow = (): Phase => ({ kind: 'shadow', tokens: 0, named: 0, absent: 0 })

/** What the events of a token say of how it was made: not which predictor made the table. */
type Ran = 'off' | 'shadow' | 'router' | 'table' | 'other'

const ranAs = (arm: Arm): Ran => (arm === 'off' || arm === 'router' ? arm : 'table')

export function guessTrials({ router, learnt }: GuessSources): GuessTrials {
  let inForce: Arm = 'off'
  let hasDecided = false
  let phase = shadow()
  let pause: number = pauseLeast
  let recall: number | undefined
  let last: { readonly sweep: number; readonly ran: Ran } | undefined

  const decide = (arm: Arm): void => {
    pause = arm === inForce ? Math.min(pauseMost, pause * 2) : pauseLeast
    inForce = arm
    hasDecided = true
    phase = { kind: 'rest', tokens: pause }
  }

  const begin = (): void => {
    const candidate = learnt()
    const arms: Arm[] = ['off']
    if (router && recall! >= recallLeast) arms.push('router')
    if (candidate !== undefined && candidate.recallOfAbsent >= recallLeast) arms.push(candidate.name)
    if (arms.length === 1) decide('off')
    else phase = { kind: 'trial', trial: { arms, at: 0, means: arms.map(() => []), times: [] } }
  }

  const afterToken = (ran: Ran, microseconds: number): void => {
    if (phase.kind === 'trial') {
      const trial = timed(phase.trial, ran, microseconds)
      phase = { kind: 'trial', trial }
      if (trial.means.at(-1)!.length === windows && trial.times.length === 0) decide(winner(trial))
    } else if (phase.kind === 'rest') {
      if (--phase.tokens === 0) phase = shadow()
    } else if (ran === 'shadow' && ++phase.tokens === shadowTokens) {
      recall = phase.absent === 0 ? 0 : phase.named / phase.absent
      begin()
    }
  }

  return {
    observe(events) {
      for (const event of events) {
        if (event.kind === 'guess') {
          const { sweep, mode, origin } = event
          last = { sweep, ran: mode === 'prefetch' ? origin : mode === 'retain' ? 'other' : mode }
          if (phase.kind === 'shadow' && mode === 'shadow') {
            phase.named += event.correctAbsent
            phase.absent += event.absent
          }
        } else if (event.kind === 'token' && event.positions === 1) {
          afterToken(last?.sweep === event.sweep ? last.ran : 'off', event.computeMicroseconds + event.stallMicroseconds)
        }
      }
    },
    next() {
      if (phase.kind === 'shadow') return { mode: 'shadow', source: 'router' }
      const arm = phase.kind === 'rest' ? inForce : phase.trial.arms[phase.trial.at]!
      return arm === 'off' ? { mode: 'off', source: 'router' } : { mode: 'prefetch', source: arm }
    },
    recall: () => recall,
    decided: () => (hasDecided ? inForce : undefined),
  }
}

/** The trial after a token that ran in some way; one that was made before the plan arrived does not count. */
function timed(trial: Trial, ran: Ran, microseconds: number): Trial {
  const { arms, at, means, times } = trial
  if (ran !== ranAs(arms[at]!)) return trial
  times.push(microseconds)
  if (times.length < windowTokens) return trial
  means[at]!.push(times.reduce((sum, time) => sum + time, 0) / times.length)
  return { arms, at: (at + 1) % arms.length, means, times: [] }
}

/** Each arm must pay against the one that would act without it. */
function winner({ arms, means }: Trial): Arm {
  const times = means.map(median)
  let best = 0
  for (let i = 1; i < arms.length; i++) if (times[i]! <= times[best]! * (1 - gainLeast)) best = i
  return arms[best]!
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
