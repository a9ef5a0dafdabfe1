// What could break: what was learnt of another model, or written by a stranger, moves into guesses; a file that is broken ends a run; files
// grow without bound; what comes back is not what was learnt.
// How we notice: counts that were saved guess as those that were not, up to their weight; files with each field changed, cut, or forged at
// random are ignored with one sentence and made anew, or hold numbers that can be gone on with; the file of the largest model is measured.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, expect, test, vi } from 'vitest'
import { learner, relationsLearnt } from '../prefetch/learner.js'
import type { PredictorShape } from '../prefetch/predictors/predictor.js'
import { restoreCounts, saveCounts, type SavedCounts, savedCountsFault } from '../prefetch/predictors/saved-counts.js'
import { relationHabitsOf } from './relation-habits.js'
import { writeState } from './state-store.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-relations-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
beforeEach(() => void vi.stubEnv('HYPURA_STATE_DIR', folder))

const shape: PredictorShape = { layers: 3, nExpert: 6, nExpertUsed: 2 }
const identity = 'decade'.repeat(11)
const name = `relations/${identity.slice(0, 32)}`

function taught(tokens: number): SavedCounts {
  const { counts, observe } = learner(shape)
  for (let position = 0; position < tokens; position++) {
    const experts = [0, 1, 2].map((layer) => [(position + layer) % 3, 3 + ((position * 2 + layer) % 3)])
    observe({ sequence: 1, client: 0, position, experts, absent: [[], [], []] }, 2)
  }
  return saveCounts(counts)
}

test('what comes back guesses the same, with less weight', () => {
  const habits = relationHabitsOf(identity, shape)
  expect(habits).toMatchObject({ before: undefined, warning: undefined })
  const saved = taught(400)
  expect(habits.save(saved)).toBeUndefined()
  const { before, warning } = relationHabitsOf(identity, shape)
  expect(warning).toBeUndefined()
  expect(before).toMatchObject({ ...saved })
  const restored = restoreCounts(before!, shape, relationsLearnt)
  expect([...restored.totals]).toEqual([4, 4, 4])
  restored.tables.forEach((table, relation) => {
    for (let row = 0; row < 18; row++) {
      const total = saved.totals[relation * 18 + row]!
      expect(table.totals[row]!).toBeLessThanOrEqual(4)
      for (let place = 0; place < table.width; place++) {
        const count = saved.counts[(relation * 18 + row) * 6 + place]!
        if (total > 0) expect(table.counts[row * table.width + place]! / table.totals[row]!).toBeCloseTo(count / total, 5)
      }
    }
  })
})

test('too little is not kept', () => {
  const other = 'ab'.repeat(32)
  expect(relationHabitsOf(other, shape).save(taught(60))).toBeUndefined()
  expect(relationHabitsOf(other, shape).before).toBeUndefined()
})

test('what another model or a stranger wrote is ignored with one sentence, and replaced', () => {
  const good = { version: 1, ...taught(80) }
  const changed = (field: keyof SavedCounts, at: number, value: number): object => {
    const values = good[field].slice()
    values[at] = value
    return { ...good, [field]: values }
  }
  const rows = good.followers.length / 6
  const row = [...good.totals.keys()].find((i) => i < rows && good.totals[i]! > 0)!
  for (const bad of [
    { ...good, version: 2 }, { ...good, version: NaN }, { ...good, text: 'x' }, { ...good, uses: Float64Array.of(NaN) }, { ...good, uses: new Int16Array(18).fill(-1) }, { ...good, totals: new Uint16Array(2 ** 22) }, { ...good, uses: undefined }, { ...good, followers: Array.from(good.followers) }, { ...good, counts: Float32Array.from(good.counts) },
    { ...good, totals: good.totals.slice(1) }, { ...good, layerTotals: new Uint16Array(4) }, changed('followers', 3, 6), changed('followers', 3, 65_534),
    changed('followers', row * 6 + 1, good.followers[row * 6]!), changed('counts', row * 6, 65_535), changed('uses', 0, 65_535), changed('totals', row, 0), [], 'x', null, 7,
  ]) {
    writeState(name, 'expert-relations', bad)
    const habits = relationHabitsOf(identity, shape)
    expect(habits.before).toBeUndefined()
    expect(habits.warning).toMatch(/was ignored: .* made anew/)
  }
  relationHabitsOf(identity, shape).save(taught(80))
  expect(relationHabitsOf(identity, { ...shape, nExpert: 7 }).warning).toMatch(/was ignored/)
  expect(relationHabitsOf(identity, shape)).toMatchObject({ warning: undefined, before: { uses: good.uses } })
})

test('the relations and their order are version 1: another list raises it', () => {
  expect(relationsLearnt.map(({ of, distance }) => `${of} ${distance}`)).toEqual(['token 1', 'layer 1', 'layer 2', 'layer 3', 'layer 4'])
})

test('a file that was cut anywhere is ignored, and nothing is left beside one that was written', () => {
  const cut = 'cafe'.repeat(8)
  const path = join(folder, 'relations', cut)
  expect(relationHabitsOf(cut, shape).save(taught(80))).toBeUndefined()
  expect(readdirSync(join(folder, 'relations')).filter((file) => file.startsWith(cut))).toEqual([cut])
  const bytes = readFileSync(path)
  for (let length = 0; length < bytes.length; length += 7) {
    writeFileSync(path, bytes.subarray(0, length))
    expect(relationHabitsOf(cut, shape)).toMatchObject({ before: undefined, warning: expect.stringContaining('was ignored') as string })
  }
})

type Step = readonly (readonly number[])[]
const choice = fc.uniqueArray(fc.nat(5), { minLength: 2, maxLength: 2 })
const steps = fc.array(fc.tuple(choice, choice, choice), { minLength: 1, maxLength: 30 })
/** Teaches until rows were halved, in many tokens from few. */
function teach({ observe }: ReturnType<typeof learner>, tokens: readonly Step[], times: number): void {
  for (let i = 0; i < tokens.length * times; i++) observe({ sequence: 1, client: 0, position: i, experts: tokens[i % tokens.length]!, absent: [[], [], []] }, 2)
}

test('whatever was learnt, before this run too, has no fault', () => {
  fc.assert(fc.property(steps, steps, fc.integer({ min: 1, max: 60 }), (first, second, times) => {
    const before = learner(shape)
    teach(before, first, times)
    const saved = saveCounts(before.counts)
    expect(savedCountsFault(saved, shape, relationsLearnt)).toBeUndefined()
    const after = learner(shape, restoreCounts(saved, shape, relationsLearnt))
    teach(after, second, times)
    expect(savedCountsFault(saveCounts(after.counts), shape, relationsLearnt)).toBeUndefined()
  }), { numRuns: 40 })
})

test('values that are let through can be gone on with, whoever wrote them', () => {
  const good = taught(80)
  const forged = fc.array(fc.record({ field: fc.constantFrom(...(Object.keys(good) as (keyof SavedCounts)[])), at: fc.nat(9999), value: fc.oneof(fc.nat(6), fc.nat(65_535), fc.constant(65_535)) }), { maxLength: 6 })
  let through = 0
  fc.assert(fc.property(forged, steps, (changes, tokens) => {
    const saved = structuredClone(good)
    for (const { field, at, value } of changes) saved[field][at % saved[field].length] = value
    if (savedCountsFault(saved, shape, relationsLearnt) !== undefined) return
    through++
    const counts = restoreCounts(saved, shape, relationsLearnt)
    teach(learner(shape, counts), tokens, 3)
    for (const [i, used] of counts.uses.entries()) expect(used >= 0 && used <= counts.totals[Math.floor(i / 6)]!).toBe(true)
    for (const { followers, counts: often, totals, width } of counts.tables) {
      for (const [row, total] of totals.entries()) {
        const places = Array.from({ length: width }, (_, place) => row * width + place)
        const named = places.map((at) => followers[at]!).filter((follower) => follower !== 0xffff)
        expect(new Set(named).size).toBe(named.length)
        for (const at of places) expect(often[at]! >= 0 && often[at]! <= total).toBe(true)
      }
    }
  }), { numRuns: 400 })
  expect(through).toBeGreaterThan(40)
})

test('files are as large as their comment says', () => {
  for (const [size, most] of [[{ layers: 60, nExpert: 256, nExpertUsed: 8 }, 2.7e6], [{ layers: 12, nExpert: 128, nExpertUsed: 8 }, 0.3e6], [{ layers: 256, nExpert: 256, nExpertUsed: 8 }, 12e6]] as const) {
    const saved = saveCounts(learner(size).counts)
    saved.layerTotals.fill(32 * 512)
    const big = 'feed'.repeat(8)
    expect(relationHabitsOf(big, size).save(saved)).toBeUndefined()
    const { size: bytes } = statSync(join(folder, 'relations', big))
    expect(bytes).toBeLessThan(most)
    expect(bytes).toBeGreaterThan(most / 2)
  }
})

test('nothing is read or written where state is off', () => {
  vi.stubEnv('HYPURA_STATE_DIR', 'off')
  const habits = relationHabitsOf('beef'.repeat(8), shape)
  expect(habits.save(taught(80))).toBeUndefined()
  expect(habits.before).toBeUndefined()
  vi.stubEnv('HYPURA_STATE_DIR', folder)
  expect(relationHabitsOf('beef'.repeat(8), shape).before).toBeUndefined()
})
