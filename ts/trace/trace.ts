/**
 * What a trace says: which experts a model's layers chose, sweep by sweep, and what those experts weigh.
 *
 * No token ids and no text are in it. Format: docs/formats/trace.md; written by trace-writer.ts, read by parse-trace.ts.
 */

/** The model a trace was recorded on, as far as placement is concerned. */
export interface TraceModel {
  /** general.architecture */
  readonly architecture: string
  /** general.name, or the file's name. */
  readonly name: string
  /** SHA-256, in hex, over the headers and sizes of all parts: the same file has the same. */
  readonly sha256: string
  readonly nLayer: number
  /** Layers before the first mixture layer. */
  readonly nLayerDenseLead: number
  readonly nExpert: number
  readonly nExpertUsed: number
  /** What each expert occupies and costs to read, [mixture layer][expert]. */
  readonly expertBytes: Float64Array
  /** Memory that all else needs when all else stays: what a budget is more than its expert pool. */
  readonly besideBytes: number
}

export interface Trace {
  readonly model: TraceModel
  readonly sweeps: number
  /** Positions of a sweep: 1, or more for a chunk of a prompt, whose choices are a union. */
  positions(sweep: number): number
  /** Measured while recording, stalls left out. */
  computeMicroseconds(sweep: number): number
  /** Sweeps are missing before this one. */
  followsGap(sweep: number): boolean
  /** One position: in router order, best first. More: the union, ascending. A view; do not write. */
  experts(sweep: number, mixtureLayer: number): Uint16Array
  /** Event records that the recorder lost, and sweeps that were left out because of it or because they were not finished. */
  readonly lostEvents: number
  readonly skippedSweeps: number
}

export const mixtureLayers = ({ nLayer, nLayerDenseLead }: Pick<TraceModel, 'nLayer' | 'nLayerDenseLead'>): number => nLayer - nLayerDenseLead
