/**
 * What a predictor knows, as the table of a plan: log odds in fixed point, to be added by the engine.
 *
 * The engine adds what a predictor adds (relation-counts.ts): the base odds of each expert, and more for each expert before it that it
 * follows. What is the same for all experts of a layer is left out, since only the order counts, and every number is at least 0. So the engine
 * names what the predictor names, but for followers beyond the places of a row and ties within the rounding.
 * Pure.
 */
import { type ExpertBlocks, firstExperts } from './expert-blocks.js'
import type { FollowTable } from './plan.js'
import { baseOdds, baseRate, moreOdds, type RelationCounts } from './predictors/relation-counts.js'
import { followersOf, nobody } from './predictors/relation-table.js'

/** 2 MB for four relations of 60 layers of 256 experts. Twice as many find no more (decision 0014). */
const placesMax = 8
/** Per natural unit of log odds, of which base odds differ by less than 24 and a follower gains less than 11. */
const unit = 2048

const fixed = (odds: number): number => Math.min(0xffff, Math.round(odds * unit))

/** @param counts of the model's mixture layers; @param uses numbers of the predictor's relations among those of the counts */
export function followTable(manifest: ExpertBlocks, counts: RelationCounts, uses: readonly number[], places: number = placesMax): FollowTable {
  const { shape: { layers, nExpert } } = counts
  const { first: firstBlock, count } = manifest.experts
  const rowOfLayer = [...firstExperts(manifest)].sort(([a], [b]) => a - b).map(([, block]) => block - firstBlock)
  const width = Math.min(places, nExpert)
  const rates = Float64Array.from({ length: layers * nExpert }, (_, i) => baseRate(counts, Math.floor(i / nExpert), i % nExpert))
  const base = new Uint16Array(count)
  for (let layer = 0; layer < layers; layer++) {
    const odds = rates.subarray(layer * nExpert, (layer + 1) * nExpert).map(baseOdds)
    const least = odds.reduce((a, b) => Math.min(a, b), Infinity)
    odds.forEach((value, expert) => (base[rowOfLayer[layer]! + expert] = fixed(value - least)))
  }
  const followers = new Uint16Array(uses.length * count * width * 2).fill(nobody)
  const best = new Float64Array(width)
  uses.forEach((index, relation) => {
    const { of, distance } = counts.relations[index]!
    for (let layer = 0; layer < layers; layer++) {
      const target = (of === 'token' ? layer : layer + distance) * nExpert
      if (target >= layers * nExpert) continue
      for (let expert = 0; expert < nExpert; expert++) {
        const begin = (relation * count + rowOfLayer[layer]! + expert) * width * 2
        let filled = 0
        followersOf(counts.tables[index]!, layer * nExpert + expert, (follower, times) => {
          const worth = times / rates[target + follower]!
          if (worth === 0 || (filled === width && worth <= best[width - 1]!)) return
          let place = Math.min(filled, width - 1)
          if (filled < width) filled++
          for (; place > 0 && best[place - 1]! < worth; place--) {
            best[place] = best[place - 1]!
            followers[begin + place * 2] = followers[begin + place * 2 - 2]!
          }
          best[place] = worth
          followers[begin + place * 2] = follower
        })
        for (let place = 0; place < filled; place++) followers[begin + place * 2 + 1] = fixed(moreOdds(best[place]!))
      }
    }
  })
  return { relations: uses.map((index) => counts.relations[index]!), firstBlock, base, width, followers }
}
