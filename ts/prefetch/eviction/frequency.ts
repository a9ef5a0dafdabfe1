import type { EvictionPolicy } from './policy.js'

/** Least often used goes first, with ageing by the pool's clock: strong where the pool holds few of the experts. */
export const frequency: EvictionPolicy = {
  name: 'frequency',
  scores({ experts, nBlocks, usesPerToken }) {
    const scores = new Float32Array(nBlocks)
    for (const { id } of experts) scores[id] = usesPerToken[id]!
    return scores
  },
}
