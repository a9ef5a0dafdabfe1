// What could break: tokens of two sequences mix, a client's habits serve another's guesses, a score counts what it should not, lost or
// repeated sweeps teach something, learning takes all the time there is, clients and sequences grow without end.
// How we notice: a second implementation of the scores, with one offline predictor per sequence over the same events in random
// interleavings; sequences whose habits contradict each other; a clock that is always up.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EngineEvent } from './events.js'
import type { ExpertBlocks } from './expert-blocks.js'
import { canLearn } from './learner.js'
import { livePredictors, type LivePredictors } from './live-predictors.js'
import { nobodysRoutes } from './nobodys-routes.js'
import { learntSources, predictorKind, predictors } from './predictors/index.js'
import type { Predictor } from './predictors/predictor.js'

const [layers, nExpert, nExpertUsed] = [3, 8, 2]
const head = { timeNs: 0, layer: undefined }

/** Mixture layers 1, 2 and 3 of a model whose first layer is dense. */
function mixture(experts: number = nExpert): ExpertBlocks {
  const count = layers * experts
  return {
    spec: { nExpert: experts, nExpertUsed }, experts: { first: 5, count },
    blocks: {
      count: 5 + count, hullBytes: new Float64Array(5 + count).fill(4096),
      layer: Uint16Array.from({ length: 5 + count }, (_, id) => (id < 5 ? 0xffff : 1 + Math.floor((id - 5) / experts))),
      expert: Uint16Array.from({ length: 5 + count }, (_, id) => (id < 5 ? 0 : (id - 5) % experts)),
    },
  }
}
const make = (): LivePredictors => livePredictors(mixture(), 2)!
const never = (): boolean => false

interface Token { readonly sequence: number; readonly client?: number; readonly position: number; readonly experts: readonly (readonly number[])[]; readonly absent?: readonly (readonly number[])[] }
let sweeps = 0

function eventsOf({ sequence, client = 0, position, experts, absent = [] }: Token): EngineEvent[] {
  const sweep = ++sweeps
  return [
    { ...head, sweep, kind: 'sweep', sequence, client, firstPosition: position, positions: 1 },
    ...experts.flatMap((chosen, i): EngineEvent[] => [
      { ...head, sweep, layer: i + 1, kind: 'route', experts: chosen },
      ...(absent[i] === undefined || absent[i].length === 0 ? [] : [{ ...head, sweep, layer: i + 1, kind: 'absent' as const, experts: absent[i] }]),
    ]),
    { ...head, sweep, kind: 'token', token: 1, positions: 1, computeMicroseconds: 1, stallMicroseconds: 1 },
  ]
}

const choice = fc.uniqueArray(fc.nat(nExpert - 1), { minLength: nExpertUsed, maxLength: nExpertUsed })
const token = fc.record({ experts: fc.array(choice, { minLength: layers, maxLength: layers }), absentMask: fc.nat(63), gap: fc.boolean() })

test('each predictor\'s score is what its offline twin gets on the same sequence', () => {
  fc.assert(fc.property(fc.array(token, { minLength: 1, maxLength: 40 }), (steps) => {
    const live = make()
    const twins = new Map<string, Predictor>([...predictors.keys()].filter((name) => name !== 'none').map((name) => [name, predictorKind(name).create({ layers, nExpert, nExpertUsed })]))
    const sums = new Map([...twins.keys()].map((name) => [name, { named: 0, right: 0, asked: 0, absent: 0, rightAbsent: 0 }]))
    const decay = 0.5 ** (1 / 256)
    let position = 10
    for (const { experts, absentMask, gap } of steps) {
      position += gap ? 5 : 1
      const absent = experts.map((chosen, layer) => chosen.filter((_, i) => (absentMask >> (layer * 2 + i)) & 1))
      live.observe(eventsOf({ sequence: 1, position, experts, absent }), never)
      for (const [name, twin] of twins) {
        if (gap) twin.interrupt()
        const sum = sums.get(name)!
        for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] *= decay
        const probabilities = new Float32Array(nExpert)
        experts.forEach((chosen, layer) => {
          if (layer > 0) {
            twin.predict(layer, probabilities)
            const order = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]! || a - b)
            // Two orders may part where two are as likely as each other: such guesses are judged by nobody.
            if (Math.abs(probabilities[order[1]!]! - probabilities[order[2]!]!) < 1e-6) sum.named = NaN
            const named = order.slice(0, 2)
            sum.named += 2
            sum.right += named.filter((expert) => chosen.includes(expert)).length
            sum.asked += chosen.length
            sum.absent += absent[layer]!.length
            sum.rightAbsent += named.filter((expert) => absent[layer]!.includes(expert)).length
          }
          twin.observe(layer, chosen)
        })
      }
    }
    for (const { name, precision, recall, recallOfAbsent } of live.scores()) {
      const sum = sums.get(name)
      if (sum === undefined || Number.isNaN(sum.named)) continue
      expect(precision, name).toBeCloseTo(sum.right / sum.named, 9)
      expect(recall, name).toBeCloseTo(sum.right / sum.asked, 9)
      if (sum.absent === 0) expect(recallOfAbsent, name).toBeUndefined()
      else expect(recallOfAbsent, name).toBeCloseTo(sum.rightAbsent / sum.absent, 9)
    }
  }), { numRuns: 60 })
})

/** A token whose layers follow each other by a rule of its own, and which needs a new expert each time. */
const ruled = (step: number, at: number): (readonly number[])[] => [0, 1, 2].map((layer) => [(at + layer * step) % 4, 4 + ((at + layer * step) % 4)])
const recallOf = (live: LivePredictors, name: string): number => live.scores().find((score) => score.name === name)!.recall

test('sequences in turn are learnt as if each had run alone', () => {
  const [alone, inTurn] = [make(), make()]
  const random = (seed: number): number => (Math.imul(seed, 2_654_435_761) >>> 16) % 4
  for (let position = 0; position < 300; position++) {
    const one = { sequence: 1, position, experts: [[position % 4, 4 + (position % 4)], [random(position), 4 + random(position)], [position % 4, 4 + (position % 4)]] }
    alone.observe(eventsOf(one), never)
    inTurn.observe([...eventsOf(one), ...eventsOf({ ...one, sequence: 2 + (position % 3), client: 9, position: position >> 1, experts: ruled(3, random(position + 7)) })], never)
  }
  expect(recallOf(alone, 'previous-token')).toBeGreaterThan(0.6)
  expect(inTurn.learnt(0)).toEqual(alone.learnt(0))
})

test('what a client teaches serves no other client and nobody', () => {
  const live = make()
  for (let position = 0; position < 200; position++) live.observe(eventsOf({ sequence: 1, client: 3, position, experts: ruled(1, position * 7) }), never)
  expect(live.learnt(0)!.totals.every((total) => total === 0)).toBe(true)
  expect(live.learnt(4)).toBeUndefined()
  expect(live.learnt(3)!.totals[0]).toBe(200)
  // Nobody's sequences begin without knowledge, so their first guess is that of a fresh engine.
  const fresh = make()
  const first = eventsOf({ sequence: 2, position: 0, experts: ruled(2, 1) })
  live.observe(first, never)
  fresh.observe(first, never)
  expect(live.learnt(0)).toEqual(fresh.learnt(0))
})

test('a table for the engine, and who may act by it, is what nobody\'s sequences taught', () => {
  const [live, fresh] = [make(), make()]
  const absent = [[], [4], [5]]
  for (let position = 0; position < 100; position++) live.observe(eventsOf({ sequence: 1, client: 3, position, experts: ruled(1, position * 7), absent }), never)
  for (const name of learntSources) expect(live.table(name)).toEqual(fresh.table(name))
  expect(live.best(learntSources)).toBeUndefined()
  for (let position = 0; position < 100; position++) {
    const nobodys = eventsOf({ sequence: 2, position, experts: ruled(1, position * 7), absent: ruled(1, position * 7) })
    live.observe(nobodys, never)
    fresh.observe(nobodys, never)
    live.observe(eventsOf({ sequence: 3, client: 4, position, experts: ruled(3, position * 5), absent }), never)
    if (position === 20) expect(live.best(learntSources)).toBeUndefined() // too early to say
  }
  for (const name of learntSources) expect(live.table(name)).toEqual(fresh.table(name))
  expect(live.best(learntSources)).toEqual(fresh.best(learntSources))
  // The layer before says it all here.
  expect(['markov', 'previous-layer', 'co-activation']).toContain(live.best(learntSources)!.name)
  expect(live.best(learntSources)!.recallOfAbsent).toBeGreaterThan(0.9)
  expect(live.best(['popular'])).toMatchObject({ name: 'popular' })
  expect(live.best([])).toBeUndefined()
})

test('clients are forgotten, the least recent first', () => {
  const live = make()
  for (let client = 1; client <= 40; client++) {
    live.observe(eventsOf({ sequence: client, client, position: 0, experts: ruled(1, 0) }), never)
    live.observe(eventsOf({ sequence: 99, client: 1, position: client, experts: ruled(1, 0) }), never)
  }
  expect([1, 2, 24, 26, 40].map((client) => live.learnt(client) !== undefined)).toEqual([true, false, false, true, true])
})

test('prompts, sweeps that failed, and sweeps with events missing teach nothing', () => {
  const live = make()
  const whole = eventsOf({ sequence: 1, position: 4, experts: ruled(1, 0) })
  live.observe(whole.filter(({ kind }) => kind !== 'token'), never) // made again, or failed
  live.observe(whole.filter((event) => event.layer !== 2), never)
  live.observe(whole.filter(({ kind }) => kind !== 'sweep'), never)
  live.observe(whole.map((event) => (event.kind === 'sweep' ? { ...event, positions: 3 } : event)), never)
  live.observe(whole.map((event) => (event.kind === 'route' ? { ...event, experts: [...event.experts, 1] } : event)), never)
  live.observe(whole.map((event) => (event.kind === 'route' ? { ...event, experts: [1, 60_000] } : event)), never)
  live.observe(whole.map((event) => (event.kind === 'route' ? { ...event, layer: 900 } : event)), never)
  expect(live.tokens).toEqual({ learnt: 0, skipped: 0 })
  live.observe(whole.slice(0, 3), never)
  live.observe(whole.slice(3), never) // cut between two batches
  expect(live.tokens).toEqual({ learnt: 1, skipped: 0 })
})

test('with no time left one token of a batch is learnt, and the next one begins anew', () => {
  const live = make()
  let position = 0
  for (let batch = 0; batch < 50; batch++) live.observe(Array.from({ length: 10 }, () => eventsOf({ sequence: 1, position: position++, experts: ruled(1, position) })).flat(), () => true)
  expect(live.tokens).toEqual({ learnt: 50, skipped: 450 })
  const counts = live.learnt(0)!
  const byToken = counts.relations.findIndex(({ of }) => of === 'token')
  expect(counts.tables[byToken]!.totals.every((total) => total === 0)).toBe(true)
})

test('models that are too large are not learnt', () => {
  expect(livePredictors({ ...mixture(), experts: { first: 5, count: 0 }, blocks: { count: 5, layer: new Uint16Array(5), expert: new Uint16Array(5), hullBytes: new Float64Array(5) } }, 2)).toBeUndefined()
  expect(canLearn({ layers: 61, nExpert: 384, nExpertUsed: 8 })).toBe(true)
  expect(canLearn({ layers: 4096, nExpert: 4096, nExpertUsed: 8 })).toBe(false)
})

test('nobody\'s routes are those of sequences without a client, numbered anew', () => {
  fc.assert(fc.property(fc.array(fc.record({ client: fc.constantFrom(0, 0, 5), lost: fc.boolean() }), { maxLength: 20 }), fc.integer({ min: 1, max: 7 }), (steps, batch) => {
    const events = steps.flatMap(({ client, lost }, position) => eventsOf({ sequence: 1, client, position, experts: ruled(1, position) }).filter(({ kind }) => kind !== 'sweep' || !lost))
    const select = nobodysRoutes()
    const kept: EngineEvent[] = []
    for (let at = 0; at < events.length; at += batch) kept.push(...select(events.slice(at, at + batch)))
    const expected = steps.flatMap(({ client, lost }, position) => (client === 0 && !lost ? [ruled(1, position)] : []))
    expect(kept.map((event) => [event.sweep, event.kind === 'route' ? event.experts : []])).toEqual(expected.flatMap((experts, i) => experts.map((chosen) => [i + 1, chosen])))
  }))
})
