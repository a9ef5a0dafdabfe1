/** A trace as the pool sees it: experts as blocks, each layer of each sweep as one request. */
import type { ExpertBlocks } from '../prefetch/expert-blocks.js'
import { mixtureLayers, type Trace } from '../trace/trace.js'

export interface Layout extends ExpertBlocks {
  readonly layers: number
  /** Largest expert: what a slot takes. */
  readonly slotBytes: number
  /** Sum of all experts. */
  readonly expertBytes: number
}

export function layoutOf({ model }: Trace): Layout {
  const { nExpert, nExpertUsed, expertBytes } = model
  const layers = mixtureLayers(model)
  const count = layers * nExpert
  return {
    layers,
    spec: { nExpert, nExpertUsed },
    experts: { first: 0, count },
    blocks: {
      count,
      layer: Uint16Array.from({ length: count }, (_, id) => Math.floor(id / nExpert)),
      expert: Uint16Array.from({ length: count }, (_, id) => id % nExpert),
      hullBytes: expertBytes,
    },
    slotBytes: expertBytes.reduce((most, bytes) => Math.max(most, bytes), 0),
    expertBytes: expertBytes.reduce((sum, bytes) => sum + bytes, 0),
  }
}

/** Blocks of one layer in one sweep, ascending, as the decoder asks for them. */
export function requestOf(trace: Trace, sweep: number, layer: number): number[] {
  const first = layer * trace.model.nExpert
  return Array.from(trace.experts(sweep, layer), (expert) => first + expert).sort((a, b) => a - b)
}

/** All requests of a trace in order. */
export function requestsOf(trace: Trace): number[][] {
  const layers = mixtureLayers(trace.model)
  return Array.from({ length: trace.sweeps * layers }, (_, i) => requestOf(trace, Math.floor(i / layers), i % layers))
}
