/**
 * Counts of relations for the next run: of each row its most frequent followers, in fixed point. A model of 60 layers of 256 experts takes
 * 2.7 MB with five relations, one of 12 layers of 128 experts 0.3 MB; none takes more than 12 MB.
 *
 * What an earlier run saw counts as little as a prior, so that a text's own habits soon outweigh it.
 */
import type { PredictorShape } from './predictor.js'
import { type Relation, type RelationCounts, relationCounts } from './relation-counts.js'
import { nobody } from './relation-table.js'

/** Plain data, as a store can carry it. Read as untrusted input: `savedCountsFault` says what is wrong with it. */
export interface SavedCounts {
  /** [relation][row][place]; 65535: nobody. */
  readonly followers: Uint16Array
  readonly counts: Uint16Array
  /** [relation][row] */
  readonly totals: Uint16Array
  /** [layer][expert], and [layer]. */
  readonly uses: Uint16Array
  readonly layerTotals: Uint16Array
}

const followersKept = 8
/** Of a row's total, and of a layer's, when they are restored: as much as the prior. More finds no more, and hinders after 25 tokens (0014). */
const totalBeforeMax = 4
/** Fixed point: totals are below 1,024. */
const scale = 32

const placesOf = ({ nExpert }: PredictorShape): number => Math.min(followersKept, nExpert)

export function saveCounts({ shape, tables, uses, totals }: RelationCounts): SavedCounts {
  const rows = shape.layers * shape.nExpert
  const places = placesOf(shape)
  const saved = emptyOf(shape, tables.length)
  const order: number[] = []
  tables.forEach((table, relation) => {
    for (let row = 0; row < rows; row++) {
      order.length = 0
      for (let at = row * table.width; at < (row + 1) * table.width; at++) if (table.followers[at] !== nobody) order.push(at)
      order.sort((a, b) => table.counts[b]! - table.counts[a]! || table.followers[a]! - table.followers[b]!)
      const to = (relation * rows + row) * places
      order.slice(0, places).forEach((at, place) => {
        saved.followers[to + place] = table.followers[at]!
        saved.counts[to + place] = table.counts[at]! * scale
      })
      saved.totals[relation * rows + row] = table.totals[row]! * scale
    }
  })
  uses.forEach((used, i) => (saved.uses[i] = used * scale))
  totals.forEach((total, i) => (saved.layerTotals[i] = total * scale))
  return saved
}

/** @param saved without a fault, of the same shape and relations */
export function restoreCounts(saved: SavedCounts, shape: PredictorShape, relations: readonly Relation[]): RelationCounts {
  const counts = relationCounts(shape, relations)
  const rows = shape.layers * shape.nExpert
  const places = placesOf(shape)
  counts.tables.forEach((table, relation) => {
    for (let row = 0; row < rows; row++) {
      const total = saved.totals[relation * rows + row]! / scale
      const share = shareOf(total)
      table.totals[row] = total * share
      for (let place = 0; place < places; place++) {
        const from = (relation * rows + row) * places + place
        table.followers[row * table.width + place] = saved.followers[from]!
        table.counts[row * table.width + place] = (saved.counts[from]! / scale) * share
      }
    }
  })
  saved.layerTotals.forEach((fixed, layer) => {
    const total = fixed / scale
    counts.totals[layer] = total * shareOf(total)
    for (let i = layer * shape.nExpert; i < (layer + 1) * shape.nExpert; i++) counts.uses[i] = (saved.uses[i]! / scale) * shareOf(total)
  })
  return counts
}

const shareOf = (total: number): number => Math.min(1, totalBeforeMax / Math.max(1, total))

/** What makes it no counts of that shape; undefined for good ones. */
export function savedCountsFault(saved: SavedCounts, shape: PredictorShape, relations: readonly Relation[]): string | undefined {
  const empty = emptyOf(shape, relations.length)
  for (const name of Object.keys(empty) as (keyof SavedCounts)[]) {
    if (!(saved[name] instanceof Uint16Array)) return `${name} are no numbers of 16 bits`
    if (saved[name].length !== empty[name].length) return `${name} has ${saved[name].length} entries, not ${empty[name].length}`
  }
  const places = placesOf(shape)
  for (let at = 0; at < saved.followers.length; at++) {
    const follower = saved.followers[at]!
    if (follower !== nobody && follower >= shape.nExpert) return `an expert ${follower} follows, of ${shape.nExpert}`
    if (follower === nobody && saved.counts[at] !== 0) return 'nobody is counted'
    for (let other = at - (at % places); other < at; other++) if (follower !== nobody && saved.followers[other] === follower) return `expert ${follower} is named twice among the followers of one`
    if (saved.counts[at]! > saved.totals[Math.floor(at / places)]!) return 'a follower came more often than what it follows'
  }
  for (let i = 0; i < saved.uses.length; i++) if (saved.uses[i]! > saved.layerTotals[Math.floor(i / shape.nExpert)]!) return 'an expert was chosen more often than its layer chose'
  return undefined
}

function emptyOf(shape: PredictorShape, relations: number): SavedCounts {
  const rows = shape.layers * shape.nExpert
  return {
    followers: new Uint16Array(relations * rows * placesOf(shape)).fill(nobody), counts: new Uint16Array(relations * rows * placesOf(shape)),
    totals: new Uint16Array(relations * rows), uses: new Uint16Array(rows), layerTotals: new Uint16Array(shape.layers),
  }
}
