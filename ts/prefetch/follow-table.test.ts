// What could break: a table that names other experts than the predictor it is made of, that looks at another layer, that has places the engine
// refuses, or weights that do not fit.
// How we notice: the predictor itself is the second implementation. On random histories the sums of its table must put experts in the
// predictor's order, but for those whose odds differ by less than the rounding.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ExpertBlocks } from './expert-blocks.js'
import { followTable } from './follow-table.js'
import { relationsLearnt, sources } from './learner.js'
import type { FollowTable } from './plan.js'
import { relationCounts, timeline } from './predictors/relation-counts.js'

const shape = { layers: 6, nExpert: 8, nExpertUsed: 2 }
const { layers, nExpert } = shape

/** Every second layer is a mixture, and the blocks of the second mixture come before those of the first. */
const manifest: ExpertBlocks = {
  spec: shape, experts: { first: 5, count: layers * nExpert },
  blocks: {
    count: 5 + layers * nExpert, hullBytes: new Float64Array(5 + layers * nExpert),
    layer: Uint16Array.from({ length: 5 + layers * nExpert }, (_, id) => (id < 5 ? 0xffff : 2 * ([1, 0, 2, 3, 4, 5][Math.floor((id - 5) / nExpert)]!))),
    expert: Uint16Array.from({ length: 5 + layers * nExpert }, (_, id) => (id < 5 ? 0 : (id - 5) % nExpert)),
  },
}
const rowOf = (layer: number, expert: number): number => [1, 0, 2, 3, 4, 5][layer]! * nExpert + expert

/** As native/scheduler/followers.h adds them. */
function sumsOf({ relations, base, width, followers }: FollowTable, layer: number, token: readonly (readonly number[])[], before: readonly (readonly number[])[] | undefined): number[] {
  const sums = Array.from({ length: nExpert }, (_, expert) => base[rowOf(layer, expert)]!)
  relations.forEach(({ of, distance }, i) => {
    const at = of === 'layer' ? layer - distance : layer
    for (const expert of (of === 'layer' ? token[at] : before?.[at]) ?? []) {
      const begin = (i * base.length + rowOf(at, expert)) * width * 2
      for (let place = begin; place < begin + width * 2; place += 2) if (followers[place] !== 0xffff) sums[followers[place]!]! += followers[place + 1]!
    }
  })
  return sums
}

const choice = fc.uniqueArray(fc.nat(nExpert - 1), { minLength: 2, maxLength: 2 })
const token = fc.array(choice, { minLength: layers, maxLength: layers })

test.each(sources)('$name: the sums put experts in the predictor\'s order', ({ uses }) => {
  fc.assert(fc.property(fc.array(token, { minLength: 2, maxLength: 60 }), (tokens) => {
    const counts = relationCounts(shape, relationsLearnt)
    const line = timeline(counts)
    for (const chosen of tokens.slice(0, -1)) chosen.forEach((experts, layer) => line.observe(layer, experts))
    const table = followTable(manifest, counts, uses)
    const last = tokens.at(-1)!
    const odds = new Float64Array(nExpert)
    last.forEach((experts, layer) => {
      if (layer > 0) {
        line.base(layer, odds)
        for (const relation of uses) line.weigh(layer, relation, odds)
        const sums = sumsOf(table, layer, last.slice(0, layer), tokens.at(-2))
        for (let a = 0; a < nExpert; a++) for (let b = 0; b < nExpert; b++) if (odds[a]! > odds[b]! + 0.02) expect(sums[a], `${a} before ${b}`).toBeGreaterThan(sums[b]!)
      }
      // What is learnt of this token now does not change the table: it was made before.
      line.observe(layer, experts)
    })
  }), { numRuns: 100 })
})

test('a row keeps those that gain most, each once, and none in the last layers', () => {
  fc.assert(fc.property(fc.array(token, { minLength: 1, maxLength: 60 }), (tokens) => {
    const counts = relationCounts(shape, relationsLearnt)
    const line = timeline(counts)
    for (const chosen of tokens) chosen.forEach((experts, layer) => line.observe(layer, experts))
    for (const { uses } of sources) {
      const [all, few] = [followTable(manifest, counts, uses), followTable(manifest, counts, uses, 3)]
      const placesOf = ({ width, base, followers }: FollowTable, relation: number, row: number): number[][] =>
        Array.from({ length: width }, (_, place) => [...followers.subarray(((relation * base.length + row) * width + place) * 2).subarray(0, 2)]).filter(([expert]) => expert !== 0xffff)
      all.relations.forEach(({ of, distance }, relation) => {
        for (let layer = 0; layer < layers; layer++) for (let expert = 0; expert < nExpert; expert++) {
          const kept = placesOf(all, relation, rowOf(layer, expert))
          expect(new Set(kept.map(([follower]) => follower)).size).toBe(kept.length)
          for (const [follower] of kept) expect(follower).toBeLessThan(nExpert)
          expect(kept.map(([, weight]) => weight)).toEqual(kept.map(([, weight]) => weight!).toSorted((a, b) => b - a))
          expect(placesOf(few, relation, rowOf(layer, expert)).map(([, weight]) => weight)).toEqual(kept.slice(0, 3).map(([, weight]) => weight))
          if (of === 'layer' && layer + distance >= layers) expect(kept).toEqual([])
        }
      })
    }
  }), { numRuns: 30 })
})

test('weights of the longest habits and the rarest experts fit', () => {
  const large = { layers: 2, nExpert: 256, nExpertUsed: 1 }
  const blocks: ExpertBlocks = {
    spec: large, experts: { first: 0, count: 512 },
    blocks: { count: 512, hullBytes: new Float64Array(512), layer: Uint16Array.from({ length: 512 }, (_, id) => id >> 8), expert: Uint16Array.from({ length: 512 }, (_, id) => id & 255) },
  }
  const counts = relationCounts(large, relationsLearnt)
  const line = timeline(counts)
  for (let i = 0; i < 5000; i++) for (const layer of [0, 1]) line.observe(layer, [i % 700 === 0 ? 9 : 7])
  const { base, followers } = followTable(blocks, counts, sources.find(({ name }) => name === 'previous-layer')!.uses)
  expect(Math.max(...base)).toBeLessThan(0xffff)
  const weights = followers.filter((_, i) => i % 2 === 1 && followers[i - 1] !== 0xffff)
  expect(weights.length).toBeGreaterThan(1)
  expect(Math.max(...weights)).toBeLessThan(0xffff)
})
