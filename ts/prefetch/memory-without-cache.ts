/**
 * Memory of the two modes without a cache: the baseline 'mmap', where the kernel decides what is in memory and the budget holds
 * KV cache and scratch alone, and the yardstick 'bare', where the files lie in memory as they are.
 */
import { HypuraError } from '../base/errors.js'
import type { BudgetRequest, MemoryPlan } from './memory-budget.js'
import { addUp, pages, wholePages, type MemoryItems } from './memory-items.js'
import { formatSize, sizeOption } from './parse-size.js'

/**
 * @param batches sizes of a prefill sweep to try, largest first
 * @returns a plan whose `chosen.pinned` is, for 'bare', the files' bytes
 */
export function planWithoutCache(request: BudgetRequest, mode: 'mmap' | 'bare', nCtx: number, batches: readonly number[]): MemoryPlan {
  const { manifest, measure, sequences = 1, logitsRows = 1, kvType = 'f16' } = request
  const budgetBytes = wholePages(request.budgetBytes)
  const pinned = mode === 'bare' ? manifest.files.reduce((sum, { sizeBytes }) => sum + pages(sizeBytes), 0) : 0
  const itemsOf = (batch: number): MemoryItems => {
    const { kvBytes, scratchBytes } = measure(batch, nCtx)
    return addUp({ trunk: 0, pinned, ring: 0, experts: 0, rows: 0, kv: pages(kvBytes), scratch: pages(scratchBytes) })
  }
  const floor = itemsOf(1)
  if (floor.total > budgetBytes) throw tooLarge(request, mode, floor, nCtx)
  const batchPositions = batches.find((batch) => itemsOf(batch).total <= budgetBytes) ?? 1
  const chosen = itemsOf(batchPositions)
  return {
    mode,
    regions: {
      budgetBytes, trunkBytes: 0, pinnedBytes: pinned, ringBytes: 0, poolSlotBytes: 0, rowSlotBytes: 0, ...measure(batchPositions, nCtx), kvType,
      poolSlots: 0, rowSlots: 0, pinCount: 0, nCtx, nSequences: sequences, batchPositions, logitsRows,
      placement: mode === 'bare' ? 'copied' : 'mapped',
    },
    chosen, floor, resident: chosen, cliff: undefined, recommended: chosen,
  }
}

function tooLarge({ manifest, budgetBytes }: BudgetRequest, mode: string, floor: MemoryItems, nCtx: number): HypuraError {
  const path = manifest.files[0]?.path ?? 'the model'
  return new HypuraError(
    'ERR_HYPURA_INSUFFICIENT_MEMORY',
    `${path} needs ${formatSize(floor.total)} with mode ${mode} and a context of ${nCtx}, the budget is ${formatSize(budgetBytes)}. ` +
      `Give --memory ${sizeOption(floor.total)}, or --mode auto.`,
    { path, floorBytes: floor.total, budgetBytes, contextLength: nCtx },
  )
}
