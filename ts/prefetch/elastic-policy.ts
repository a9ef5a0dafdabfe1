/**
 * When a loaded model gives memory back, and when it takes it again.
 *
 * It shrinks at once and by much, because the alternative is that the system ends the process; it grows slowly, because a
 * shrink that follows a growth costs reads twice. Two reasons to shrink:
 *  - *pressure*: the kernel looks for memory and finds none, or somebody waits for it. How much is wanted is not known: half of
 *    what could be given goes at once in the first case, whose next step ends a process, a quarter in the second.
 *  - *room*: the limit, or what others leave, is less than what is in use by more than half of the head-room. Only a budget that
 *    was chosen by itself ('auto') follows that; a size that a user named is kept until there is pressure.
 * Pure: time is an argument.
 */

export interface ElasticBounds {
  /** The budget was 'auto': it follows the limit down without pressure. */
  readonly follows: boolean
  readonly leastBytes: number
  /** What everything that was loaded takes. */
  readonly mostBytes: number
}

export interface ElasticState {
  readonly inForceBytes: number
  /** Of the last pressure, shrink or refused growth. */
  readonly troubleMs: number
  readonly grewMs: number
  /** No growth before this long after trouble. */
  readonly calmMs: number
}

/** What is seen at one moment. */
export interface MemorySigns {
  readonly nowMs: number
  /** What the engine could place under the tightest limit, head-room left free; may be negative. */
  readonly roomBytes: number
  readonly headRoomBytes: number
  /** The kernel looked for memory in this group and found none, or the group is over its limit. */
  readonly starved: boolean
  /** Share of the last moments in which some process of a group that is nearly full waited for memory, 0 to 1. */
  readonly stalledShare: number
}

export type ElasticReason = 'pressure' | 'limit' | 'room'

export interface ElasticStep {
  readonly state: ElasticState
  /** Undefined: all stays as it is. */
  readonly wanted?: { readonly bytes: number; readonly reason: ElasticReason }
}

/** "some" of PSI above this is pressure. */
export const stalledShareMax = 0.1
const starvedShare = 1 / 2
const waitedShare = 1 / 4
const shrinkShareLeast = 1 / 32
const growShare = 1 / 8
const growEveryMs = 1000
const calmFirstMs = 10_000
const calmMostMs = 600_000
/** Pressure this soon after a growth was caused by it: the next one waits twice as long. */
const regretMs = 60_000

export const elasticStart = (bytes: number): ElasticState =>
  ({ inForceBytes: bytes, troubleMs: -Infinity, grewMs: -Infinity, calmMs: calmFirstMs })

export function elasticStep(bounds: ElasticBounds, state: ElasticState, signs: MemorySigns): ElasticStep {
  const { nowMs, roomBytes, headRoomBytes } = signs
  const { inForceBytes } = state
  const pressure = signs.starved || signs.stalledShare >= stalledShareMax
  const overBytes = inForceBytes - roomBytes
  if (pressure || (bounds.follows && overBytes > headRoomBytes / 2)) {
    const troubled = inTrouble(state, nowMs)
    if (inForceBytes <= bounds.leastBytes) return { state: troubled }
    const step = Math.max((inForceBytes - bounds.leastBytes) * (signs.starved ? starvedShare : waitedShare), bounds.mostBytes * shrinkShareLeast)
    const target = pressure ? Math.min(inForceBytes - step, bounds.follows ? roomBytes : inForceBytes) : roomBytes
    return { state: troubled, wanted: { bytes: Math.max(bounds.leastBytes, Math.floor(target)), reason: pressure ? 'pressure' : 'limit' } }
  }
  const missing = bounds.mostBytes - inForceBytes
  if (missing <= 0 || nowMs - state.troubleMs < state.calmMs || nowMs - state.grewMs < growEveryMs) return { state }
  const gain = Math.min(missing, Math.floor(bounds.mostBytes * growShare))
  // A step in full or not at all: crumbs would come and go with every breath of the heap.
  if (-overBytes < gain) return { state }
  return { state: { ...state, grewMs: nowMs }, wanted: { bytes: inForceBytes + gain, reason: 'room' } }
}

/** A growth was refused: the machine had less than it said. */
export const elasticRefused = (state: ElasticState, nowMs: number): ElasticState => inTrouble(state, nowMs)

function inTrouble(state: ElasticState, nowMs: number): ElasticState {
  const regretted = nowMs - state.grewMs < regretMs
  return {
    ...state,
    troubleMs: nowMs,
    grewMs: -Infinity,
    calmMs: regretted ? Math.min(calmMostMs, 2 * state.calmMs) : state.calmMs,
  }
}
