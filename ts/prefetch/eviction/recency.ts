import type { EvictionPolicy } from './policy.js'

/**
 * Least recently used goes first: the baseline that others must beat.
 *
 * Equal scores leave the pool's clock alone to order slots, and ties go by last use, which together is exactly recency.
 */
export const recency: EvictionPolicy = {
  name: 'recency',
  scores: ({ nBlocks }) => new Float32Array(nBlocks),
}
