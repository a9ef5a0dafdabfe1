/**
 * From event records to whole sweeps: joins a sweep's route events until its token event ends it, and lets through only
 * sweeps that are complete.
 *
 * A single position is complete when every mixture layer has exactly its number of choices. A union's size is not known in
 * advance, so a sweep that was open while records were lost is let go unless its sizes prove it whole.
 */
import type { EngineEvent } from '../prefetch/events.js'
import { mixtureLayers, type TraceModel } from './trace.js'
import type { TraceWriter } from './trace-writer.js'

export interface RouteCollector {
  /** One drained batch. @param lossy records were dropped since the batch before */
  observe(events: readonly EngineEvent[], lossy: boolean): void
  /** Nothing more comes: a sweep that was not ended is let go. */
  end(): void
}

export function routeCollector(model: TraceModel, writer: TraceWriter): RouteCollector {
  const layers = mixtureLayers(model)
  const { nExpertUsed, nExpert, nLayerDenseLead } = model
  const experts: number[][] = Array.from({ length: layers }, () => [])
  /** The sweep whose routes are being joined. */
  let open: number | undefined
  /** Records of it may be missing. */
  let doubtful = false
  let last: number | undefined

  const begin = (sweep: number, lossy: boolean): void => {
    for (const chosen of experts) chosen.length = 0
    open = sweep
    doubtful = lossy
    if (last !== undefined && sweep > last + 1) writer.skip(sweep - last - 1)
    last = sweep
  }
  const letGo = (): void => {
    if (open !== undefined) writer.skip(1)
    open = undefined
  }
  const isWhole = (positions: number): boolean => experts.every((chosen) => positions === 1
    ? chosen.length === nExpertUsed
    : !doubtful && chosen.length >= nExpertUsed && chosen.length <= nExpert)

  return {
    observe(events, lossy) {
      doubtful ||= lossy
      for (const event of events) {
        if (event.kind !== 'route' && event.kind !== 'token') continue
        if (event.sweep !== open) {
          letGo()
          begin(event.sweep, lossy)
        }
        if (event.kind === 'route') experts[(event.layer ?? 0) - nLayerDenseLead]?.push(...event.experts)
        else {
          if (isWhole(event.positions)) writer.add({ positions: event.positions, computeMicroseconds: event.computeMicroseconds, experts })
          else writer.skip(1)
          open = undefined
        }
      }
    },
    end: letGo,
  }
}
