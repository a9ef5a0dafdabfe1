/**
 * Cuts a memory budget into regions: what stays, what streams, and in how much room.
 *
 * arena (ring + expert pool + row pool) + KV + scratch + pinned weights (trunk + pinned bands) <= budget, each part rounded
 * up to pages. Rules, in the order in which memory is given out:
 *  1. Trunk, KV, scratch, row pool: needed whatever happens. The row pool has 64 slots, or as many as fit into a
 *     thirty-second of what is left.
 *  2. Everything, if it fits: mode 'resident'. What then remains goes to the row pool.
 *  3. Bands (used by every token): all pinned if they fit beside two expert slots; else a ring, and the longest prefix of the
 *     pin order that fits. The ring has twice the reads in flight, at least 64 MiB, but no more than a quarter of the cycle
 *     (a tiny model runs on a tiny ring) and no less than two bands (one is computed, one is read).
 *  4. Experts: all that is left. Where bands are streamed, one layer's experts at most: bands are certain to be used again.
 * Scratch grows with the positions of a prefill sweep. Of 512, 256, … 1 the largest is taken (up to the caller's bound) that
 * leaves the model resident; else the largest whose scratch takes at most an eighth of what weights and scratch share.
 * The floor is a sweep of one position, a ring of the reads in flight and one more, two expert slots and one row slot.
 * No choice made here changes a logit.
 */
import { HypuraError } from '../base/errors.js'
import type { BlockManifest } from '../manifest/block-manifest.js'
import { pages, wholePages, type MemoryItems } from './memory-items.js'
import { formatSize, sizeOption } from './parse-size.js'
import { planWithoutCache } from './memory-without-cache.js'
import type { KvType, RegionSizes } from './region-sizes.js'
import { sizingOf, type Measure, type Sizing } from './sizing.js'

/** kPositionsPerPage of native/base/limits.h. */
export const positionsPerPage = 256
/** Sizes of a prefill sweep that are tried, largest first; kBatchPositionsMax of native/base/limits.h leads. */
export const batchSizes: readonly number[] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
const scratchShare = 1 / 8
/** kIoDepthDefault of native/base/limits.h. */
export const ioDepthDefault = 8

export interface BudgetRequest {
  readonly manifest: BlockManifest
  readonly budgetBytes: number
  /**
   * 'resident' refuses to stream; 'stream' never keeps everything. Default 'auto': resident if it fits. 'mmap' and 'bare' have
   * no cache (memory-without-cache.ts).
   */
  readonly mode?: 'auto' | PlacementMode
  /** Positions per sequence; rounded up to whole KV pages. */
  readonly contextLength: number
  readonly sequences?: number
  /** Default 'f16'. */
  readonly kvType?: KvType
  /** Must count `sequences`, `logitsRows` and `kvType`, too. */
  readonly measure: Measure
  /** The same with a Q8_0 KV cache, where it would be smaller and the model can have one: advice for a budget below the floor. */
  readonly measureQ8?: Measure | undefined
  /** Reads in flight. */
  readonly ioDepth?: number
  /** Largest prefill sweep that is wanted. */
  readonly batchPositionsMax?: number
  readonly logitsRows?: number
}

export type PlacementMode = 'resident' | 'stream' | 'mmap' | 'bare'

export interface MemoryPlan {
  readonly mode: PlacementMode
  /** Goes down with the Load message. */
  readonly regions: RegionSizes
  readonly chosen: MemoryItems
  /** Least memory that runs, with the context that was asked for. */
  readonly floor: MemoryItems
  /** Least memory that keeps all bands and experts. */
  readonly resident: MemoryItems
  /** Mixture models: all bands pinned and room for one token's experts; below it recency never hits. */
  readonly cliff: MemoryItems | undefined
  /** Dense: half of the cycle pinned. Mixture: all bands pinned, a third of the experts and twice the cliff's at least. */
  readonly recommended: MemoryItems
}

/** Errors: ERR_HYPURA_INSUFFICIENT_MEMORY with floor, budget and what to do about it. */
export function planMemory(request: BudgetRequest): MemoryPlan {
  const { manifest, sequences = 1, logitsRows = 1, kvType = 'f16', measure } = request
  const nCtx = wholeContext(request.contextLength)
  if (request.mode === 'mmap' || request.mode === 'bare') return planWithoutCache(request, request.mode, nCtx, batchesUpTo(request.batchPositionsMax))
  const budgetBytes = wholePages(request.budgetBytes)
  const sizing = sizingFor(request, nCtx)
  const floor = sizing.floor(1)
  if (floor.total > budgetBytes) throw belowFloor(request, floor, nCtx)
  const resident = sizing.resident(1)
  if (request.mode === 'resident' && resident.total > budgetBytes) throw notResident(request, resident)

  const batches = batchesUpTo(request.batchPositionsMax)
  const batchPositions = chooseBatch(request, sizing, budgetBytes, nCtx, batches)
  const { items, pinCount, poolSlots, rowSlots, resident: keepsAll } = sizing.divide(budgetBytes, batchPositions)
  const { kvBytes, scratchBytes } = measure(batchPositions, nCtx)
  return {
    mode: keepsAll ? 'resident' : 'stream',
    regions: {
      budgetBytes,
      trunkBytes: manifest.trunkBytes,
      pinnedBytes: items.pinned,
      ringBytes: items.ring,
      poolSlotBytes: manifest.expertSlotBytes,
      rowSlotBytes: manifest.rowSlotBytes,
      kvBytes,
      kvType,
      scratchBytes,
      poolSlots,
      rowSlots,
      pinCount,
      nCtx,
      nSequences: sequences,
      batchPositions,
      logitsRows,
      placement: 'cache',
    },
    chosen: items,
    floor,
    resident,
    cliff: sizing.cliff(),
    recommended: sizing.recommended(batches[0]!),
  }
}

const wholeContext = (contextLength: number): number => Math.ceil(contextLength / positionsPerPage) * positionsPerPage

const batchesUpTo = (most: number = batchSizes[0]!): readonly number[] => {
  const allowed = batchSizes.filter((size) => size <= most)
  return allowed.length === 0 ? [1] : allowed
}

const sizingFor = ({ manifest, measure, mode, ioDepth = ioDepthDefault }: BudgetRequest, contextLength: number): Sizing =>
  sizingOf({ manifest, measure, contextLength, ioDepth, streamOnly: mode === 'stream' })

function chooseBatch(
  { measure, mode, manifest }: BudgetRequest, sizing: Sizing, budgetBytes: number, nCtx: number, batches: readonly number[],
): number {
  const staysResident = (batch: number): boolean => mode !== 'stream' && sizing.resident(batch).total <= budgetBytes
  const staysModest = (batch: number): boolean => {
    const { kvBytes, scratchBytes } = measure(batch, nCtx)
    const shared = budgetBytes - manifest.trunkBytes - pages(kvBytes)
    return scratchBytes <= shared * scratchShare && sizing.floor(batch).total <= budgetBytes
  }
  return batches.find(staysResident) ?? batches.find(staysModest) ?? 1
}

/** The longest context, in whole pages, whose floor fits the budget; undefined when not even one page does. */
function fittingContext(request: BudgetRequest, nCtx: number): { contextLength: number; floorBytes: number } | undefined {
  const floorAt = (nPages: number): number => sizingFor(request, nPages * positionsPerPage).floor(1).total
  let low = 0
  let high = nCtx / positionsPerPage - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (floorAt(middle) <= request.budgetBytes) low = middle
    else high = middle - 1
  }
  return low === 0 ? undefined : { contextLength: low * positionsPerPage, floorBytes: floorAt(low) }
}

function belowFloor(request: BudgetRequest, floor: MemoryItems, nCtx: number): HypuraError {
  const path = request.manifest.files[0]?.path ?? 'the model'
  const fitting = fittingContext(request, nCtx)
  const shorter = fitting === undefined
    ? '' : `, or --ctx-size ${fitting.contextLength} (needs ${formatSize(fitting.floorBytes)})`
  const q8Bytes = request.measureQ8 === undefined ? Infinity : sizingFor({ ...request, measure: request.measureQ8 }, nCtx).floor(1).total
  const smaller = q8Bytes > request.budgetBytes ? '' : `, or --kv-type q8_0 (needs ${formatSize(q8Bytes)}, and changes logits a little)`
  return new HypuraError(
    'ERR_HYPURA_INSUFFICIENT_MEMORY',
    `${path} needs ${formatSize(floor.total)} with a context of ${nCtx}, the budget is ${formatSize(request.budgetBytes)}. ` +
      `Give --memory ${sizeOption(floor.total)}${shorter}${smaller}.`,
    {
      path, floorBytes: floor.total, budgetBytes: request.budgetBytes, contextLength: nCtx,
      fittingContextLength: fitting?.contextLength, fittingFloorBytes: fitting?.floorBytes,
    },
  )
}

function notResident(request: BudgetRequest, resident: MemoryItems): HypuraError {
  const path = request.manifest.files[0]?.path ?? 'the model'
  return new HypuraError(
    'ERR_HYPURA_INSUFFICIENT_MEMORY',
    `${path} needs ${formatSize(resident.total)} to stay in memory, the budget is ${formatSize(request.budgetBytes)}. ` +
      `Give --memory ${sizeOption(resident.total)}, or --mode auto to stream what does not fit.`,
    { path, residentBytes: resident.total, budgetBytes: request.budgetBytes },
  )
}
