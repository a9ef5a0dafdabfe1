/**
 * How often each expert is used, from route events: decayed uses per sweep, smoothed by what uniform routing would give.
 *
 * A use counts 1, and half as much `halfLifeSweeps` sweeps later. An expert that was never seen has the rate of uniform
 * routing, and loses it as evidence comes in; without that prior a newly read expert would be the next victim.
 * Sweeps are counted by their numbers, so lost events make the rates vague, not wrong.
 */
import { invariant } from '../base/errors.js'
import type { EngineEvent } from './events.js'
import { type ExpertBlocks, firstExperts } from './expert-blocks.js'

/** About ten sentences: long enough to know a topic, short enough to forget it. */
const halfLifeSweeps = 256
/** The prior weighs as much as this many sweeps. */
const priorSweeps = 8

export interface AccessStats {
  observe(events: readonly EngineEvent[]): void
  /** Uses per sweep by block id, 0 .. 1; 0 for blocks that are no experts. */
  usesPerToken(): Float64Array
  /** Sweeps seen so far, decayed: how much the rates are worth. */
  evidence(): number
  /** For the next run of the same model. */
  save(): ExpertUse
}

/** How often each expert of a model was used: what is kept between runs. */
export interface ExpertUse {
  /** Decayed to the last sweep, by expert block from the first on. */
  readonly uses: Float32Array
  /** Decayed number of the sweeps that were seen. */
  readonly sweeps: number
}

/** What an earlier run saw counts as much as this many sweeps: enough to fill a pool by. More of it finds no more, and hinders another kind of text (0011). */
const sweepsBeforeMax = 20

/** @param before of the same model; its size must fit */
export function accessStats(manifest: ExpertBlocks, before?: ExpertUse): AccessStats {
  const { spec, experts, blocks } = manifest
  const decay = 0.5 ** (1 / halfLifeSweeps)
  const prior = spec.nExpert === 0 ? 0 : spec.nExpertUsed / spec.nExpert
  const firstOfLayer = firstExperts(manifest)
  /** Decayed to the sweep in `last`. */
  const uses = new Float64Array(experts.count)
  /** The sweep each entry of `uses` was brought up to. */
  const broughtTo = new Uint32Array(experts.count)
  let weight = 0
  let last: number | undefined
  if (before !== undefined) {
    invariant(before.uses.length === experts.count, `uses of ${before.uses.length} experts for ${experts.count}`)
    const share = Math.min(1, sweepsBeforeMax / Math.max(1, before.sweeps))
    before.uses.forEach((count, index) => (uses[index] = count * share))
    weight = before.sweeps * share
  }

  const advance = (sweep: number): void => {
    if (last === undefined) {
      // What is known from before is as old as the first sweep, whatever its number.
      broughtTo.fill(sweep)
      last = sweep
      weight += 1
    } else if (sweep > last) {
      weight = weight * decay ** (sweep - last) + (1 - decay ** (sweep - last)) / (1 - decay)
      last = sweep
    }
  }
  const bringUp = (index: number, sweep: number): void => {
    if (sweep <= broughtTo[index]!) return
    uses[index]! *= decay ** (sweep - broughtTo[index]!)
    broughtTo[index] = sweep
  }

  return {
    observe(events) {
      for (const event of events) {
        if (event.kind !== 'route' || event.layer === undefined) continue
        const first = firstOfLayer.get(event.layer)
        if (first === undefined) continue
        advance(event.sweep)
        for (const expert of event.experts) {
          if (expert >= spec.nExpert) continue
          const index = first - experts.first + expert
          bringUp(index, event.sweep)
          uses[index]! += 1
        }
      }
    },
    usesPerToken() {
      const rates = new Float64Array(blocks.count)
      for (let index = 0; index < experts.count; index++) {
        bringUp(index, last ?? 0)
        rates[experts.first + index] = Math.min(1, (uses[index]! + priorSweeps * prior) / (weight + priorSweeps))
      }
      return rates
    },
    evidence: () => weight,
    save() {
      for (let index = 0; index < experts.count; index++) bringUp(index, last ?? 0)
      return { uses: Float32Array.from(uses), sweeps: weight }
    },
  }
}
