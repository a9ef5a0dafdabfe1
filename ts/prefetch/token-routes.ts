/**
 * From events to decoded tokens: what a sweep of one position chose, layer by layer, whose it was, and what had to be read for it.
 *
 * Only whole ones are let through: events may be lost, and a sweep may end with an error or be made again. A sweep of several
 * positions (a prompt) has no choice per token; the gap it leaves in its sequence's positions says that something came between.
 */
import type { EngineEvent } from './events.js'
import { type ExpertBlocks, firstExperts } from './expert-blocks.js'
import type { PredictorShape } from './predictors/predictor.js'

export interface TokenRoutes {
  readonly sequence: number
  readonly client: number
  readonly position: number
  /** [mixture layer], best first. */
  readonly experts: readonly (readonly number[])[]
  /** [mixture layer], those of the choice that had to be read; ascending. */
  readonly absent: readonly (readonly number[])[]
}

export interface RouteJoiner {
  readonly shape: PredictorShape
  observe(events: readonly EngineEvent[]): TokenRoutes[]
}

/** The mixture layers of a model, by their numbers among its layers. */
const mixtureLayers = (manifest: ExpertBlocks): number[] => [...firstExperts(manifest).keys()].sort((a, b) => a - b)

export const predictorShape = (manifest: ExpertBlocks): PredictorShape =>
  ({ layers: mixtureLayers(manifest).length, nExpert: manifest.spec.nExpert, nExpertUsed: manifest.spec.nExpertUsed })

export function routeJoiner(manifest: ExpertBlocks): RouteJoiner {
  const shape = predictorShape(manifest)
  const { layers, nExpert, nExpertUsed } = shape
  const numbers = new Map(mixtureLayers(manifest).map((layer, i) => [layer, i]))
  const lists = (): number[][] => Array.from({ length: layers }, () => [])
  let open: { sweep: number; head: { sequence: number; client: number; position: number }; experts: number[][]; absent: number[][] } | undefined
  const isWhole = (experts: readonly (readonly number[])[]): boolean =>
    experts.every((chosen) => chosen.length === nExpertUsed && chosen.every((expert) => expert < nExpert))

  return {
    shape,
    observe(events) {
      const tokens: TokenRoutes[] = []
      for (const event of events) {
        if (event.kind === 'sweep') {
          const { sweep, sequence, client, firstPosition: position, positions } = event
          open = positions === 1 ? { sweep, head: { sequence, client, position }, experts: lists(), absent: lists() } : undefined
        } else if (open === undefined || event.sweep !== open.sweep) {
          continue
        } else if (event.kind === 'route' || event.kind === 'absent') {
          const number = event.layer === undefined ? undefined : numbers.get(event.layer)
          if (number !== undefined) open[event.kind === 'route' ? 'experts' : 'absent'][number]!.push(...event.experts)
        } else if (event.kind === 'token') {
          const { head, experts, absent } = open
          if (isWhole(experts)) tokens.push({ ...head, experts, absent })
          open = undefined
        }
      }
      return tokens
    },
  }
}
