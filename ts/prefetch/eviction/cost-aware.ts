import type { EvictionPolicy } from './policy.js'

/**
 * How much more an expert is worth that is used twice as often: 2^4. In proportion to use (a power of 1) the clock rises by more than scores
 * differ, and what was used last stays rather than what is used most: docs/decisions/0011-routing-traces.md has the figures.
 */
const usePower = 4

/**
 * Worth of keeping a block: how often it is used, sharpened, times the stall that a byte of it would cost to read again.
 *
 * Both are relative to the average, so that an average expert has the score 1, which all have before the first plan. Where all experts
 * are of one size the second factor is 1; files of mixed types have layers of different sizes, and small reads cost more per byte.
 * @see Cao and Irani 1997; Cherkasova 1998 (with frequency). The clock is in native/scheduler/slot_pool.h.
 */
export const costAware: EvictionPolicy = {
  name: 'cost-aware',
  scores({ experts, nBlocks, usesPerToken, readSeconds }) {
    const scores = new Float32Array(nBlocks)
    const mean = (of: (expert: { id: number; bytes: number }) => number): number => experts.reduce((sum, expert) => sum + of(expert), 0) / experts.length
    const use = mean(({ id }) => usesPerToken[id]!)
    if (!(use > 0)) return scores
    const costOf = (bytes: number): number => readSeconds(bytes) / bytes
    const cost = mean(({ bytes }) => costOf(bytes))
    for (const { id, bytes } of experts) scores[id] = (usesPerToken[id]! / use) ** usePower * (costOf(bytes) / cost)
    return scores
  },
}
