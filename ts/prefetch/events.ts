/**
 * What happened in the engine, as plain values; decoded by ts/engine/codec/events.ts from the records of
 * native/scheduler/event_ring.h. Records may be missing: the ring drops and counts when nobody drains it.
 */

import type { GuessMode, GuessOrigin } from './plan.js'

interface Happening {
  /** Steady clock. */
  readonly timeNs: number
  /** Counts sweeps since load. */
  readonly sweep: number
  /** undefined: of no layer. */
  readonly layer: number | undefined
}

/** Experts that a layer chose; in prefill the union over all positions. More than eight come as several records. */
export interface RouteEvent extends Happening { readonly kind: 'route'; readonly experts: readonly number[] }
/** Of a single position's choice, those that have to be read for it. Comes after the layer's route events, if there are any; split as they are. */
export interface AbsentEvent extends Happening { readonly kind: 'absent'; readonly experts: readonly number[] }
/** Comes before the routes of a sweep. */
export interface SweepEvent extends Happening {
  readonly kind: 'sweep'
  /** Number of its sequence, never used again. */
  readonly sequence: number
  /** Whose sequence it is; 0 for nobody's. */
  readonly client: number
  readonly firstPosition: number
  readonly positions: number
}
export interface ReadEvent extends Happening {
  readonly kind: 'read'
  readonly block: number
  readonly bytes: number
  readonly microseconds: number
  readonly retries: number
}
export type StallCause = 'ring' | 'expert' | 'row' | 'pin'
export interface StallEvent extends Happening {
  readonly kind: 'stall'
  readonly block: number
  readonly microseconds: number
  readonly bytesMissing: number
  readonly cause: StallCause
}
export interface EvictEvent extends Happening {
  readonly kind: 'evict'
  readonly block: number
  readonly replacedBy: number
  readonly priority: number
  readonly ageSweeps: number
}
/** One sweep's end: a token of decode, or a chunk of prefill. */
export interface TokenEvent extends Happening {
  readonly kind: 'token'
  readonly token: number
  readonly positions: number
  readonly computeMicroseconds: number
  readonly stallMicroseconds: number
}
export interface FaultEvent extends Happening {
  readonly kind: 'fault'
  readonly errno: number
  readonly file: number
  readonly offset: number
}

/** How good the guesses of a sweep were, over the layers that were guessed. Comes before the sweep's token event. */
export interface GuessEvent extends Happening {
  readonly kind: 'guess'
  readonly mode: GuessMode
  readonly origin: GuessOrigin
  /** Experts that were named, and how many of them were asked for. */
  readonly guessed: number
  readonly correct: number
  /** Experts that were asked for, how many of them had to be read, and how many of those were named. */
  readonly asked: number
  readonly absent: number
  readonly correctAbsent: number
}

export type EngineEvent = RouteEvent | AbsentEvent | SweepEvent | ReadEvent | StallEvent | EvictEvent | TokenEvent | FaultEvent | GuessEvent
