import type { EvictionPolicy } from './policy.js'

/**
 * Least recently used goes first: the baseline that others must beat.
 *
 * With equal scores the clock orders slots by the time of their use, and ties go by last use, which together is exactly
 * recency. The score is 1, so that a block that was admitted with score 0 (prefill) is less worthy than any other.
 */
export const recency: EvictionPolicy = {
  name: 'recency',
  scores: ({ nBlocks }) => new Float32Array(nBlocks).fill(1),
}
