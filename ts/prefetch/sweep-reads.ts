/**
 * What one sweep must read under a memory plan, to the byte: what a measured speed is held against. Weights alone: that reads
 * are widened to the drive's alignment is the engine's business, and no excuse.
 *
 * Only certain reads are counted: bands that are not pinned. Experts depend on the router, rows of the embedding on the
 * tokens; both are measured, not planned.
 */
import type { BlockManifest } from '../manifest/block-manifest.js'
import type { MemoryPlan } from './memory-budget.js'
import { expertsPerToken } from './sizing.js'

export interface SweepReads {
  /** Of the bands that are not pinned. Without a cache the engine reads nothing; what the page cache reads, nobody foretells. */
  readonly streamedBytes: number
  /** The part of them that belongs to the output head: sweeps without logits (all chunks of a prompt but the last) leave it out. */
  readonly streamedHeadBytes: number
  readonly streamedBands: number
  /** Mean size of one read on the way that carries most bytes: bands where some are streamed, else parts of experts; 0 without either. */
  readonly meanReadBytes: number
  /** Experts that the router chooses for one token, over all layers; 0 for dense models. */
  readonly expertsPerToken: number
}

export function sweepReads(manifest: BlockManifest, { regions }: Pick<MemoryPlan, 'regions'>): SweepReads {
  const { blocks, extents, pinOrder, firstHeadBand, experts } = manifest
  if (regions.placement !== 'cache') return { streamedBytes: 0, streamedHeadBytes: 0, streamedBands: 0, meanReadBytes: 0, expertsPerToken: expertsPerToken(manifest.spec) }
  let streamedBytes = 0
  let streamedHeadBytes = 0
  for (const band of pinOrder.subarray(regions.pinCount)) {
    const bytes = extents.bytes[blocks.firstExtent[band]!]! // a band is one extent
    streamedBytes += bytes
    if (band >= firstHeadBand) streamedHeadBytes += bytes
  }
  const streamedBands = pinOrder.length - regions.pinCount
  const isAllInPool = regions.poolSlots >= experts.count
  const parts = experts.count === 0 ? 0 : blocks.extentCount[experts.first]!
  const meanReadBytes = streamedBands > 0 ? streamedBytes / streamedBands : isAllInPool ? 0 : manifest.expertBytes / experts.count / parts
  return { streamedBytes, streamedHeadBytes, streamedBands, meanReadBytes, expertsPerToken: expertsPerToken(manifest.spec) }
}
