// What could break: guesses that cost time stay on, guesses that save time are never used, a trial never ends, tokens are judged by a mode
// or a source they were not made with, a source that names too little is tried, a good source hides a better one.
// How we notice: a simulated engine with a given time per arm, noise, and plans that arrive some tokens late; what the trials come to is
// compared with what is really faster.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EngineEvent } from './events.js'
import { type Arm, guessTrials, type GuessTrials } from './guess-trials.js'

type Ran = Arm | 'shadow'

interface Run {
  readonly times: Readonly<Partial<Record<Ran, number>>>
  /** Of the experts that have to be read, the share that the router names. */
  readonly recall: number
  /** Share of a token's time. */
  readonly noise?: number
  /** Tokens between plans. */
  readonly every?: number
}

/** What the predictor is said to find; read anew each time. */
interface Learnt { name: 'co-activation' | 'markov'; recallOfAbsent: number }

const trialsOf = (learnt?: Learnt, router = true): GuessTrials => guessTrials({ router, learnt: () => learnt })

function engine(trials: GuessTrials) {
  let sweep = 0
  let seed = 42
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
  /** Share of tokens by what they ran with, over `tokens` tokens. */
  return (tokens: number, { times, recall, noise = 0, every = 5 }: Run): Map<Ran, number> => {
    const ran = new Map<Ran, number>()
    for (let done = 0; done < tokens; done += every) {
      const { mode, source } = trials.next()
      const arm = mode === 'prefetch' ? source : mode as 'off' | 'shadow'
      const time = times[arm]!
      const events: EngineEvent[] = []
      for (let i = 0; i < every; i++) {
        sweep++
        const head = { timeNs: sweep, sweep, layer: undefined }
        const origin = source === 'router' ? 'router' as const : 'table' as const
        if (mode !== 'off') events.push({ ...head, kind: 'guess', mode, origin, guessed: 100, correct: 60, asked: 100, absent: 50, correctAbsent: Math.round(50 * recall) })
        events.push({ ...head, kind: 'token', token: 1, positions: 1, computeMicroseconds: time * 500, stallMicroseconds: time * 500 * (1 + noise * (random() - 0.5)) })
        ran.set(arm, (ran.get(arm) ?? 0) + 1 / tokens)
      }
      trials.observe(events)
    }
    return ran
  }
}

const time = fc.double({ min: 0.5, max: 1.5, noNaN: true })

test('ends on what is faster by 3 %', () => {
  fc.assert(fc.property(time, fc.integer({ min: 1, max: 12 }), (router, every) => {
    fc.pre(Math.abs(router - 0.97) > 0.01)
    const times = { off: 1, shadow: 1.01, router }
    const run = engine(trialsOf())
    run(2000, { times, recall: 0.7, every })
    const ran = run(10_000, { times, recall: 0.7, every })
    expect(ran.get(router < 0.97 ? 'router' : 'off')).toBeGreaterThan(0.8)
  }), { numRuns: 20 })
})

test('of three, ends on the one that pays against what would act without it', () => {
  fc.assert(fc.property(time, time, fc.integer({ min: 1, max: 12 }), (router, learnt, every) => {
    const second = router <= 0.97 ? router : 1
    fc.pre(Math.abs(router - 0.97) > 0.01 && Math.abs(learnt - second * 0.97) > 0.01)
    const times = { off: 1, shadow: 1.01, router, markov: learnt }
    const trials = trialsOf({ name: 'markov', recallOfAbsent: 0.3 })
    const run = engine(trials)
    run(2000, { times, recall: 0.7, every })
    const ran = run(10_000, { times, recall: 0.7, every })
    const best = learnt < second * 0.97 ? 'markov' : router < 0.97 ? 'router' : 'off'
    expect(ran.get(best)).toBeGreaterThan(0.8)
    expect(trials.decided()).toBe(best)
  }), { numRuns: 20 })
})

test('takes back what has stopped paying, and finds what has begun to', () => {
  const learnt: Learnt = { name: 'co-activation', recallOfAbsent: 0.4 }
  const trials = trialsOf(learnt)
  const run = engine(trials)
  const noise = 0.2
  const good = { times: { off: 1, shadow: 1, router: 0.8, 'co-activation': 0.95, markov: 0.6 }, recall: 0.7, noise }
  const bad = { times: { off: 1, shadow: 1, router: 1.3, 'co-activation': 1.2, markov: 1.2 }, recall: 0.7, noise }
  expect(trials.decided()).toBeUndefined()
  run(2000, good)
  expect(run(2000, good).get('router')).toBeGreaterThan(0.5)
  run(12_000, bad)
  expect(run(4000, bad).get('off')).toBeGreaterThan(0.7)
  run(20_000, good)
  expect(run(4000, good).get('router')).toBeGreaterThan(0.5)
  // A predictor that acts is taken back as well, and another one may follow it.
  learnt.name = 'markov'
  run(20_000, good)
  expect(run(4000, good).get('markov')).toBeGreaterThan(0.5)
  run(20_000, bad)
  expect(run(4000, bad).get('off')).toBeGreaterThan(0.7)
})

test('guesses that name too little are only scored, and that rarely', () => {
  const times = { off: 1, shadow: 1, router: 0.1, markov: 0.1 }
  const trials = trialsOf({ name: 'markov', recallOfAbsent: 0.2 })
  const ran = engine(trials)(20_000, { times, recall: 0.1 })
  expect([...ran.keys()].sort()).toEqual(['off', 'shadow'])
  expect(ran.get('shadow')).toBeLessThan(0.05)
  expect(trials.recall()).toBeCloseTo(0.1, 5)
  expect(trials.decided()).toBe('off')
})

test('where one source names too little, the other has its trial alone', () => {
  const times = { off: 1, shadow: 1, router: 0.1, markov: 0.5 }
  const learnt = engine(trialsOf({ name: 'markov', recallOfAbsent: 0.3 }))(20_000, { times, recall: 0.1 })
  expect(learnt.get('router')).toBeUndefined()
  expect(learnt.get('markov')).toBeGreaterThan(0.8)
  const router = engine(trialsOf({ name: 'markov', recallOfAbsent: 0.2 }))(20_000, { times, recall: 0.3 })
  expect(router.get('markov')).toBeUndefined()
  expect(router.get('router')).toBeGreaterThan(0.8)
  // A source that the caller does not want takes no part, however good.
  const forced = engine(trialsOf({ name: 'markov', recallOfAbsent: 0.3 }, false))(20_000, { times, recall: 0.9 })
  expect(forced.get('router')).toBeUndefined()
  expect(forced.get('markov')).toBeGreaterThan(0.8)
})

test('prefill and lost events do not count', () => {
  const trials = trialsOf()
  const head = { timeNs: 0, layer: undefined }
  const token = { ...head, kind: 'token' as const, token: 1, computeMicroseconds: 1, stallMicroseconds: 1 }
  for (let sweep = 0; sweep < 5000; sweep++) trials.observe([{ ...token, sweep, positions: 64 }])
  expect(trials.next().mode).toBe('shadow')
  for (let sweep = 5000; sweep < 9000; sweep++) trials.observe([{ ...token, sweep, positions: 1 }]) // no score came with them
  expect(trials.next().mode).toBe('shadow')
})
