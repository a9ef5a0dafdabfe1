/** What a predictor sees and says. To add one: docs/adding/predictor.md. */

/** The mixture layers of a model, numbered from 0. */
export interface PredictorShape {
  readonly layers: number
  readonly nExpert: number
  readonly nExpertUsed: number
}

/** A predictor's memory as plain data: what structured clone and a store can carry. Read as untrusted input. */
export interface PredictorState {
  readonly name: string
  readonly format: number
  readonly shape: PredictorShape
  readonly numbers: Readonly<Record<string, Float32Array | Uint16Array>>
}

/**
 * Learns from each choice and guesses the next one. Pure: no clock, no randomness; the same observations give the same guesses.
 * Its size is fixed when it is made.
 */
export interface Predictor {
  /** The choice of one position in `layer`. Layers come in order, position by position. */
  observe(layer: number, experts: ArrayLike<number>): void
  /** What follows was not chosen after what was seen last: a prompt's union, another sequence, lost events. */
  interrupt(): void
  /** How probably `layer` chooses each expert next, 0 .. 1, into `into` (nExpert entries). */
  predict(layer: number, into: Float32Array): void
  save(): PredictorState
}

export interface PredictorKind {
  readonly name: string
  /** Errors of a state: ERR_HYPURA_INVALID_ARGUMENT with the field that is wrong. */
  create(shape: PredictorShape, state?: PredictorState): Predictor
}
