// What could break: a plan moves a logit: a block evicted in mid-sweep, a warm read that lands where a kernel reads, a refused
// plan half in force. Or the engine needs JavaScript while it works, and stands still when the host is busy.
// How we notice: the same tokens under no plan, random plans, the planner's plans and each policy have one hash of logits and
// one text; and tokens must keep coming while this thread does nothing.
import { createHash } from 'node:crypto'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { layout, nativeLimits } from '../ts/native/layout.gen.js'
import type { NativeErrorInfo, NativeSequence } from '../ts/native/native-binding.js'
import { counters } from '../ts/engine/model-stats.js'
import { encodePlan } from '../ts/engine/codec/plan.js'
import { loadModel } from '../ts/engine/index.js'
import { type FollowTable, noFollowers, type ResidencyPlan } from '../ts/prefetch/plan.js'
import type { Relation } from '../ts/prefetch/predictors/relation-counts.js'
import { testTokens } from './support/logits-hash.js'
import { modelPath } from './support/run-cli.js'
import { bareEngine, type BareEngine, block, drainTokens, greedyRequest, nativeTokens } from './support/streaming.js'

const path = modelPath('fable-moe-q8_0.gguf')
/** About a third of the experts fit. */
const streaming = { memory: '12MiB', contextLength: 2048, batchSize: 4, threads: 2 } as const
let bare: BareEngine
let sequence: NativeSequence
let tokens: number[]
let expected: string
let planNumber = 1

beforeAll(async () => {
  bare = await bareEngine(path, streaming)
  expect(bare.plan.mode).toBe('stream')
  sequence = bare.native.createSequence()
  tokens = testTokens(bare.description.spec.nVocab, 48)
  expected = await logitsUnder(() => undefined)
})
afterAll(() => bare.native.close())

/** SHA-256 of the logits of all positions, with `between` called whenever rows were drained. */
async function logitsUnder(between: () => void): Promise<string> {
  const hash = createHash('sha256')
  const row = new Float32Array(bare.description.spec.nVocab)
  sequence.truncate(0)
  sequence.start(greedyRequest(tokens, { maxTokens: 0, logits: 'all' }), () => undefined)
  for (let rows = 0; rows < tokens.length;) {
    if (sequence.drainLogits(row) === 1) {
      hash.update(new Uint8Array(row.buffer))
      rows++
      between()
    } else {
      const { phase, error } = sequence.state()
      if (phase === 'done' && error !== null) throw new Error(error.message)
      await turn()
    }
  }
  while (sequence.state().phase !== 'done') await turn()
  return hash.digest('hex')
}

type Part = Omit<ResidencyPlan, 'sequenceNumber'>

/** Anything that native must accept. */
function plans(): fc.Arbitrary<Part> {
  const { manifest } = bare.description
  const { regions } = bare.plan
  const expert = fc.nat(manifest.experts.count - 1).map((i) => manifest.experts.first + i)
  const score = fc.oneof(fc.constant(0), fc.float({ min: 0, max: Math.fround(1e30), noNaN: true }), fc.float({ min: 0, max: 4, noNaN: true }))
  return fc.record({
    pinCount: fc.nat(regions.pinCount),
    prefillAdmission: fc.constantFrom('normal' as const, 'keepHits' as const, 'bypass' as const),
    scores: fc.array(score, { minLength: 1, maxLength: 40 }).map((few) => Float32Array.from({ length: manifest.blocks.count }, (_, i) => few[(i * 7) % few.length]!)),
    hold: fc.uniqueArray(expert, { maxLength: Math.floor(regions.poolSlots / 2) }).map((ids) => Uint32Array.from(ids).sort()),
    warm: fc.uniqueArray(expert, { maxLength: 60 }).map((ids) => Uint32Array.from(ids)),
    guessMode: fc.constantFrom('off' as const, 'shadow' as const, 'retain' as const, 'prefetch' as const),
    guessesMax: fc.nat(32),
    guessOrigin: fc.constantFrom('router' as const, 'table' as const),
    followers: tables(),
  })
}

/** Rows of some experts in a row, with empty places, and weights that tie or are as large as can be. */
function tables(): fc.Arbitrary<FollowTable> {
  const { manifest, spec } = bare.description
  const relation = fc.oneof(
    fc.integer({ min: 1, max: nativeLimits.followLayersMax }).map((distance): Relation => ({ of: 'layer', distance })),
    fc.constant<Relation>({ of: 'token', distance: 1 }),
  )
  const weight = fc.oneof(fc.nat(3), fc.nat(0xffff), fc.constant(0xffff))
  const follower = fc.oneof({ weight: 4, arbitrary: fc.nat(spec.nExpert - 1) }, { weight: 1, arbitrary: fc.constant(0xffff) })
  return fc.record({
    relations: fc.array(relation, { maxLength: nativeLimits.followRelationsMax }), skipped: fc.nat(manifest.experts.count), rows: fc.nat(manifest.experts.count),
    width: fc.nat(6), pairs: fc.array(fc.tuple(follower, weight), { minLength: 1, maxLength: 50 }), bases: fc.array(weight, { minLength: 1, maxLength: 20 }),
  }).map(({ relations, skipped, rows, width, pairs, bases }) => {
    const count = Math.min(rows, manifest.experts.count - skipped)
    return {
      relations, firstBlock: manifest.experts.first + skipped, width,
      base: Uint16Array.from({ length: count }, (_, i) => bases[i % bases.length]!),
      followers: Uint16Array.from({ length: relations.length * count * width * 2 }, (_, i) => pairs[(i >> 1) % pairs.length]![i % 2]!),
    }
  })
}

/** A table in which every expert of the next layer follows every one of this. */
function fullTable(): FollowTable {
  const { manifest: { experts }, spec } = bare.description
  return {
    relations: [{ of: 'layer', distance: 1 }], firstBlock: experts.first, base: new Uint16Array(experts.count).fill(1), width: 2,
    followers: Uint16Array.from({ length: experts.count * 4 }, (_, i) => (i % 2 === 0 ? (i * 5) % spec.nExpert : 100 + (i % 7))),
  }
}

const submit = (part: Part): void => bare.native.submitPlan(encodePlan({ ...part, sequenceNumber: ++planNumber }, bare.description.manifest.blocks.count))

describe('logits do not depend on plans', () => {
  test('random plans, submitted at any moment', async () => {
    const before = counters(bare.native)
    await fc.assert(fc.asyncProperty(fc.array(plans(), { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 12 }), async (list, every) => {
      let rows = 0
      expect(await logitsUnder(() => {
        if (rows++ % every === 0) submit(list[(rows / every) % list.length | 0]!)
      })).toBe(expected)
    }), { numRuns: 30 })
    const after = counters(bare.native)
    expect(after.planNumber).toBeGreaterThan(30)
    expect(after.evictions - before.evictions).toBeGreaterThan(1000)
  })

  test('random plans while tokens are made one by one, which is when experts are guessed', async () => {
    const request = greedyRequest([1, 2, 3], { maxTokens: 48, pendingTokensMax: 4 })
    sequence.truncate(0)
    const alone = await nativeTokens(sequence, request)
    const before = counters(bare.native)
    await fc.assert(fc.asyncProperty(fc.array(plans(), { minLength: 1, maxLength: 6 }), async (list) => {
      const made: number[] = []
      sequence.truncate(0)
      sequence.start(request, () => undefined)
      for (let at = 0; made.length < alone.length; at++) {
        submit(list[at % list.length]!)
        made.push(...drainTokens(sequence))
        await turn()
      }
      while (sequence.state().phase !== 'done') await turn()
      expect(made).toEqual(alone)
    }), { numRuns: 30 })
    expect(counters(bare.native).guessUsedBytes).toBeGreaterThan(before.guessUsedBytes)
  })

  test('refused plans change nothing: older, foreign ids, not a number, cut short', async () => {
    const { blocks, experts } = bare.description.manifest
    const good: Part = { pinCount: 0, prefillAdmission: 'normal', scores: new Float32Array(blocks.count).fill(2), hold: new Uint32Array(0), warm: new Uint32Array(0), guessMode: 'off', guessesMax: 0, guessOrigin: 'router', followers: noFollowers }
    submit(good)
    const number = planNumber
    const refused = (change: Partial<ResidencyPlan>): ArrayBuffer => encodePlan({ ...good, sequenceNumber: number + 1, ...change }, blocks.count)
    const scores = (value: number): Float32Array => Float32Array.from(good.scores, (score, i) => (i === experts.first ? value : score))
    const whole = refused({})
    const patched = new Uint8Array(whole.slice(0))
    patched[0]! ^= 1
    const full = fullTable()
    const table = (change: Partial<FollowTable>): ArrayBuffer => refused({ guessOrigin: 'table', followers: { ...full, ...change } })
    const follower = (expert: number): Uint16Array => full.followers.map((value, i) => (i === 200 ? expert : value))
    const wrong = [
      table({ firstBlock: experts.first - 1 }), table({ firstBlock: experts.first + 1 }), table({ firstBlock: blocks.count }),
      table({ followers: follower(bare.description.spec.nExpert) }), table({ followers: follower(0xfffe) }),
      table({ relations: [{ of: 'layer', distance: 0 }] }), table({ relations: [{ of: 'layer', distance: 5 }] }), table({ relations: [{ of: 'token', distance: 2 }] }),
      table({ width: 33, followers: new Uint16Array(full.base.length * 66) }),
      table({ relations: new Array<Relation>(9).fill({ of: 'layer', distance: 1 }), width: 0, followers: new Uint16Array(0) }),
      refused({ sequenceNumber: number }), refused({ sequenceNumber: 1 }),
      refused({ scores: scores(NaN) }), refused({ scores: scores(-1) }), refused({ scores: scores(Infinity) }),
      refused({ hold: Uint32Array.of(blocks.count) }), refused({ warm: Uint32Array.of(2 ** 32 - 1) }),
      refused({ hold: Uint32Array.from({ length: bare.plan.regions.poolSlots }, (_, i) => experts.first + i) }),
      refused({ pinCount: bare.plan.regions.pinCount + 1 }), refused({ guessesMax: 33 }),
      encodePlan({ ...good, sequenceNumber: number + 1, scores: new Float32Array(1) }, 1),
      whole.slice(0, whole.byteLength - 8), whole.slice(0, layout.PlanHeader.size - 4), new ArrayBuffer(0), patched.buffer,
    ]
    let at = 0
    expect(await logitsUnder(() => {
      let code = 'accepted'
      try {
        bare.native.submitPlan(wrong[at++ % wrong.length]!)
      } catch (error) {
        code = (error as NativeErrorInfo).nativeCode
      }
      expect(code, `plan ${(at - 1) % wrong.length}`).toBe('bad-plan')
    })).toBe(expected)
    expect(at).toBeGreaterThan(wrong.length)
    expect(counters(bare.native).planNumber).toBe(number)
    submit(good)
  })
})

test('tokens keep coming while JavaScript does nothing, up to pendingTokensMax', async () => {
  const count = 300
  sequence.truncate(0)
  const alone = await nativeTokens(sequence, greedyRequest([1, 2, 3], { maxTokens: count }))
  expect(alone).toHaveLength(count)
  for (const pendingTokensMax of [count, 100]) {
    sequence.truncate(0)
    sequence.start(greedyRequest([1, 2, 3], { maxTokens: count, pendingTokensMax }), () => undefined)
    block(2000)
    const { length, phase } = sequence.state()
    expect({ ahead: length <= 3 + pendingTokensMax, phase }).toEqual({ ahead: true, phase: pendingTokensMax === count ? 'done' : 'paused' })
    const drained = drainTokens(sequence) // with the first ones gone the engine goes on, and one or two more may come along
    expect(drained.length).toBeGreaterThanOrEqual(pendingTokensMax)
    expect(drained).toEqual(alone.slice(0, drained.length))
    for (let rest = drained.length; rest < count; rest += drainTokens(sequence).length) await turn()
    while (sequence.state().phase !== 'done') await turn()
  }
})

test('the planner\'s plans arrive in mid-answer, and every policy tells the story that no planner tells', async () => {
  const maxTokens = 300
  sequence.truncate(0)
  const without = await nativeTokens(sequence, greedyRequest([1, 2, 3], { maxTokens }))
  for (const eviction of ['cost-aware', 'frequency', 'recency'] as const) {
    await using model = await loadModel(path, { ...streaming, eviction })
    await using own = model.createSequence()
    const told: number[] = []
    for await (const chunk of own.generate([1, 2, 3], { temperature: 0, maxTokens, ignoreEndTokens: true })) {
      if (chunk.type === 'text') told.push(...chunk.tokens.map(({ id }) => id))
      // The engine waits for its reader, so it cannot be done before the first plan is there.
      while (chunk.type === 'text' && model.plansSubmitted === 0) await sleep(10)
    }
    expect(told, eviction).toEqual(without)
    expect(model.plansSubmitted, eviction).toBeGreaterThan(0)
    expect(model.stats().planNumber, eviction).toBeGreaterThan(1)
    expect(model.warnings.filter((warning) => /plan was refused|planner stopped/.test(warning))).toEqual([])
  }
})

test.each(['off', 'shadow', 'retain', 'prefetch', 'auto'] as const)('guesses of the next layer, %s: the story stays', async (guess) => {
  const maxTokens = 300
  sequence.truncate(0)
  const without = await nativeTokens(sequence, greedyRequest([1, 2, 3], { maxTokens }))
  await using model = await loadModel(path, { ...streaming, guess })
  await using own = model.createSequence()
  const told: number[] = []
  for await (const chunk of own.generate([1, 2, 3], { temperature: 0, maxTokens, ignoreEndTokens: true })) {
    if (chunk.type === 'text') told.push(...chunk.tokens.map(({ id }) => id))
    while (chunk.type === 'text' && model.plansSubmitted === 0) await sleep(10)
  }
  expect(told).toEqual(without)
  const { guessed, guessedCorrectly, guessAsked, guessReadBytes, guessUsedBytes } = model.stats()
  expect(guessed > 0, 'guessed').toBe(guess !== 'off')
  expect(guessReadBytes > 0, 'read').toBe(guess === 'prefetch' || (guess === 'auto' && guessReadBytes > 0))
  expect(guessUsedBytes).toBeLessThanOrEqual(guessReadBytes)
  expect(guessedCorrectly).toBeLessThanOrEqual(Math.min(guessed, guessAsked))
  // The next router on today's stream is a far better guess than chance, which is 8 of 64 here at most.
  if (guess !== 'off') expect(guessedCorrectly / guessed).toBeGreaterThan(0.4)
})
