/** What policy needs to know of a model's experts. A BlockManifest is one; so is what a trace says of the model it was recorded on. */
import type { BlockColumns } from '../manifest/block-builder.js'
import type { BlockRange } from '../manifest/block-manifest.js'
import type { ModelSpec } from '../manifest/model-spec.js'

export interface ExpertBlocks {
  readonly spec: Pick<ModelSpec, 'nExpert' | 'nExpertUsed'>
  readonly experts: BlockRange
  readonly blocks: Pick<BlockColumns, 'count' | 'layer' | 'expert' | 'hullBytes'>
}

/** Block of expert 0 by layer. */
export function firstExperts({ blocks, experts }: ExpertBlocks): Map<number, number> {
  const first = new Map<number, number>()
  for (let id = experts.first; id < experts.first + experts.count; id++) {
    if (blocks.expert[id] === 0) first.set(blocks.layer[id]!, id)
  }
  return first
}
