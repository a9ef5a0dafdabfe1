import type { EvictionPolicy } from './policy.js'

const bytesPerGib: number = 2 ** 30

/**
 * Worth of keeping a block: uses per token, times the stall its next miss would cause, per GiB it occupies.
 *
 * Where all experts are of one size it orders them as frequency does; files of mixed types have layers of different sizes.
 * @see Cao and Irani 1997; Cherkasova 1998 (with frequency). The clock is in native/scheduler/slot_pool.h.
 */
export const costAware: EvictionPolicy = {
  name: 'cost-aware',
  scores({ experts, nBlocks, usesPerToken, readSeconds }) {
    const scores = new Float32Array(nBlocks)
    for (const { id, bytes } of experts) scores[id] = (usesPerToken[id]! * readSeconds(bytes)) / (bytes / bytesPerGib)
    return scores
  },
}
