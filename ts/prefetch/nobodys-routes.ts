/**
 * Of a model's route events those of sequences that name no client, with their sweeps counted anew: what may be kept for the next run.
 *
 * Where the event that says whose sweep it is was lost, its routes are taken for somebody's.
 */
import type { EngineEvent, RouteEvent } from './events.js'

export function nobodysRoutes(): (events: readonly EngineEvent[]) => RouteEvent[] {
  /** The last sweep of nobody's, and its number among those. */
  let open: number | undefined
  let count = 0
  return (events) => {
    const routes: RouteEvent[] = []
    for (const event of events) {
      if (event.kind === 'sweep') {
        open = event.client === 0 ? event.sweep : undefined
        if (open !== undefined) count++
      } else if (event.kind === 'route' && event.sweep === open) {
        routes.push({ ...event, sweep: count })
      }
    }
    return routes
  }
}
