/**
 * How much memory each region gets: the part of a memory plan that goes down with the Load message, field by field the
 * LoadBudget of native/runtime/load_message.h. The sum of the regions, each rounded up to pages, is at most budgetBytes.
 */
export interface RegionSizes {
  readonly budgetBytes: number
  readonly trunkBytes: number
  /** Hulls of the first pinCount bands of the pin order. */
  readonly pinnedBytes: number
  readonly ringBytes: number
  readonly poolSlotBytes: number
  readonly rowSlotBytes: number
  readonly kvBytes: number
  readonly scratchBytes: number
  readonly poolSlots: number
  readonly rowSlots: number
  readonly pinCount: number
  /** Positions per sequence, a multiple of the KV page. */
  readonly nCtx: number
  readonly nSequences: number
  /** Positions of one prefill sweep. */
  readonly batchPositions: number
  readonly logitsRows: number
  /** 'cache' but for the baseline and the yardstick, which have no regions for weights. */
  readonly placement: 'cache' | 'mapped' | 'copied'
}
