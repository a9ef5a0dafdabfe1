/**
 * One replay of a trace: a policy, a predictor and what is done with its guesses, in a pool of some size, on a drive.
 *
 * Time of one layer: half of its computing (attention), then the router's choice, then reads of what is missing while the other half is
 * computed. The computing is what was measured while the trace was recorded, spread evenly over the mixture layers. The stall is what
 * the last read makes the layer wait beyond that. Guesses are made for the next layer as soon as one has been routed; they are read
 * only when the drive would be idle, and what has not begun when the next layer is routed is dropped.
 */
import type { DriveCost } from '../prefetch/cost-model.js'
import type { Predictor } from '../prefetch/predictors/predictor.js'
import type { Trace } from '../trace/trace.js'
import { disk } from './disk.js'
import { guessBounds } from './guess-bounds.js'
import { type Layout, requestOf } from './layout.js'
import type { SimulatedPool } from './pools.js'

/** `shadow`: guesses are counted and change nothing. `retain`: what is guessed and there leaves last. `prefetch`: and what is missing is read. */
export type GuessAction = 'shadow' | 'retain' | 'prefetch'

export interface ReplayOptions {
  readonly trace: Trace
  readonly layout: Layout
  readonly pool: SimulatedPool
  readonly drive: DriveCost
  readonly planEvery: number
  readonly predictor?: Predictor
  readonly action?: GuessAction
}

export interface GuessFigures {
  /** Bytes of guessed experts that were not in memory: what reading them all would cost, and what of that would not be read later. */
  readonly wouldCostBytes: number
  readonly wouldSaveBytes: number
  /** Bytes read on guesses, and those of them that were used before they expired. */
  readonly readBytes: number
  readonly usedBytes: number
}

export interface Replay {
  /** Positions that were decoded one by one; the figures of decoding are over these. */
  readonly tokens: number
  readonly hits: number
  readonly misses: number
  /** Read because it was asked for and missing, while decoding. */
  readonly demandBytes: number
  readonly stallSeconds: number
  readonly computeSeconds: number
  /** Over all requests, prompts included: what policies are compared by. */
  readonly allHits: number
  readonly allRequests: number
  readonly guesses: GuessFigures | undefined
}

/** A guess below this is not worth a read: more would be wrong than right. */
const probabilityMin = 0.5

export function replay({ trace, layout, pool, drive, planEvery, predictor, action = 'shadow' }: ReplayOptions): Replay {
  const { layers, spec: { nExpert, nExpertUsed }, blocks: { hullBytes } } = layout
  const drives = disk(drive)
  const bounds = guessBounds()
  const probabilities = new Float32Array(nExpert)
  const totals = { tokens: 0, hits: 0, misses: 0, demandBytes: 0, stallSeconds: 0, computeSeconds: 0, allHits: 0, allRequests: 0 }
  const guesses = { wouldCostBytes: 0, wouldSaveBytes: 0, readBytes: 0, usedBytes: 0 }
  let now = 0
  let guessed: number[] = []
  let guessedAt = 0
  /** Blocks read on a guess for the layer that comes, when they arrive, and who waits to hear whether they were used. */
  let inFlight = new Map<number, { arrivesAt: number; tell: (used: boolean) => void }>()

  const readGuesses = (until: number): void => {
    for (const block of guessed) {
      const begin = Math.max(guessedAt, drives.freeAt)
      if (begin >= until) return
      const bytes = hullBytes[block]!
      if (pool.has(block) || probabilities[block % nExpert]! < probabilityMin || !bounds.allows(bytes)) continue
      guesses.readBytes += bytes
      inFlight.set(block, { arrivesAt: drives.read(bytes, begin), tell: bounds.guess(bytes) })
      pool.admitGuess(block)
      pool.retain(guessed)
    }
  }
  const guess = (layer: number, at: number): void => {
    predictor!.predict(layer, probabilities)
    guessed = likeliest(probabilities, nExpertUsed).map((expert) => layer * nExpert + expert)
    guessedAt = at
    if (action !== 'shadow') pool.retain(guessed)
  }
  /** What reading all that was guessed would have cost and saved. */
  const count = (blocks: readonly number[]): void => {
    for (const block of guessed) {
      if (pool.has(block)) continue
      guesses.wouldCostBytes += hullBytes[block]!
      if (blocks.includes(block)) guesses.wouldSaveBytes += hullBytes[block]!
    }
  }

  for (let sweep = 0; sweep < trace.sweeps; sweep++) {
    const isPrefill = trace.positions(sweep) > 1
    const computeSeconds = trace.computeMicroseconds(sweep) / 1e6 / layers
    pool.beginSweep(sweep, isPrefill)
    if (sweep % planEvery === 0) bounds.renew()
    if (predictor !== undefined && (isPrefill || trace.followsGap(sweep))) {
      predictor.interrupt()
      guessed = []
      pool.retain(guessed)
    }
    for (let layer = 0; layer < layers; layer++) {
      now += computeSeconds / 2
      if (action === 'prefetch') readGuesses(now)
      const blocks = requestOf(trace, sweep, layer)
      count(blocks)
      const missing = pool.request(blocks)
      let arrivesAt = now
      for (const block of missing) {
        bounds.demand(hullBytes[block]!)
        arrivesAt = Math.max(arrivesAt, drives.read(hullBytes[block]!, now))
      }
      for (const [block, { arrivesAt: at, tell }] of inFlight) {
        const used = blocks.includes(block)
        tell(used)
        if (!used) continue
        guesses.usedBytes += hullBytes[block]!
        arrivesAt = Math.max(arrivesAt, at)
      }
      inFlight = new Map()
      totals.allHits += blocks.length - missing.length
      totals.allRequests += blocks.length
      pool.observe(layer, trace.experts(sweep, layer))
      if (!isPrefill) {
        totals.hits += blocks.length - missing.length
        totals.misses += missing.length
        for (const block of missing) totals.demandBytes += hullBytes[block]!
        totals.stallSeconds += Math.max(0, arrivesAt - (now + computeSeconds / 2))
        totals.computeSeconds += computeSeconds
      }
      const routedAt = now
      now = Math.max(now + computeSeconds / 2, arrivesAt)
      if (predictor === undefined) continue
      guessed = []
      if (isPrefill) continue
      predictor.observe(layer, trace.experts(sweep, layer))
      guess((layer + 1) % layers, routedAt)
    }
    pool.endSweep()
    if (!isPrefill) totals.tokens++
  }
  return { ...totals, guesses: predictor === undefined ? undefined : guesses }
}

/** The `most` experts of the highest probability above 0, ties by id. */
export function likeliest(probabilities: Float32Array, most: number): number[] {
  const named: number[] = []
  for (let expert = 0; expert < probabilities.length; expert++) if (probabilities[expert]! > 0) named.push(expert)
  return named.sort((a, b) => probabilities[b]! - probabilities[a]! || a - b).slice(0, most)
}
