// What could break: guesses that cost time stay on, guesses that save time are never used, a trial never ends, or tokens are
// judged by a mode they were not made in. How we notice: a simulated engine with a given time per mode, noise, and plans that
// arrive some tokens late; what the trials come to is compared with what is really faster.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EngineEvent } from './events.js'
import { guessTrials, type GuessTrials } from './guess-trials.js'
import type { GuessMode } from './plan.js'

type Times = Readonly<Record<GuessMode, number>>

interface Run {
  readonly times: Times
  /** Of the experts that have to be read, the share that guesses name. */
  readonly recall: number
  /** Share of a token's time. */
  readonly noise?: number
  /** Tokens between plans. */
  readonly every?: number
}

function engine(trials: GuessTrials) {
  let sweep = 0
  let seed = 42
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
  /** Share of tokens by mode over `tokens` tokens. */
  return (tokens: number, { times, recall, noise = 0, every = 5 }: Run): Map<GuessMode, number> => {
    const ran = new Map<GuessMode, number>()
    for (let done = 0; done < tokens; done += every) {
      const mode = trials.mode()
      const events: EngineEvent[] = []
      for (let i = 0; i < every; i++) {
        sweep++
        const head = { timeNs: sweep, sweep, layer: undefined }
        if (mode !== 'off') events.push({ ...head, kind: 'guess', mode, guessed: 100, correct: 60, asked: 100, absent: 50, correctAbsent: Math.round(50 * recall) })
        events.push({ ...head, kind: 'token', token: 1, positions: 1, computeMicroseconds: times[mode] * 500, stallMicroseconds: times[mode] * 500 * (1 + noise * (random() - 0.5)) })
        ran.set(mode, (ran.get(mode) ?? 0) + 1 / tokens)
      }
      trials.observe(events)
    }
    return ran
  }
}

const time = fc.double({ min: 0.5, max: 1.5, noNaN: true })

test('ends on what is faster by 3 %', () => {
  fc.assert(fc.property(time, fc.integer({ min: 1, max: 12 }), (prefetch, every) => {
    fc.pre(Math.abs(prefetch - 0.97) > 0.01)
    const times = { off: 1, shadow: 1.01, retain: 1, prefetch }
    const run = engine(guessTrials())
    run(2000, { times, recall: 0.7, every })
    const ran = run(20_000, { times, recall: 0.7, every })
    expect(ran.get(prefetch < 0.97 ? 'prefetch' : 'off')).toBeGreaterThan(0.8)
  }), { numRuns: 40 })
})

test('takes back what has stopped paying, and finds what has begun to', () => {
  const run = engine(guessTrials())
  const good = { times: { off: 1, shadow: 1, retain: 0.96, prefetch: 0.8 }, recall: 0.7, noise: 0.2 }
  const bad = { times: { off: 1, shadow: 1, retain: 1, prefetch: 1.3 }, recall: 0.7, noise: 0.2 }
  run(2000, good)
  expect(run(2000, good).get('prefetch')).toBeGreaterThan(0.5)
  run(12_000, bad)
  expect(run(4000, bad).get('off')).toBeGreaterThan(0.7)
  run(20_000, good)
  expect(run(4000, good).get('prefetch')).toBeGreaterThan(0.5)
})

test('guesses that name too little are only scored, and that rarely', () => {
  const trials = guessTrials()
  const ran = engine(trials)(20_000, { times: { off: 1, shadow: 1, retain: 0.1, prefetch: 0.1 }, recall: 0.1 })
  expect([...ran.keys()].sort()).toEqual(['off', 'shadow'])
  expect(ran.get('shadow')).toBeLessThan(0.05)
  expect(trials.recall()).toBeCloseTo(0.1, 5)
})

test('prefill and lost events do not count', () => {
  const trials = guessTrials()
  const head = { timeNs: 0, layer: undefined }
  const token = { ...head, kind: 'token' as const, token: 1, computeMicroseconds: 1, stallMicroseconds: 1 }
  for (let sweep = 0; sweep < 5000; sweep++) trials.observe([{ ...token, sweep, positions: 64 }])
  expect(trials.mode()).toBe('shadow')
  for (let sweep = 5000; sweep < 9000; sweep++) trials.observe([{ ...token, sweep, positions: 1 }]) // no score came with them
  expect(trials.mode()).toBe('shadow')
})
