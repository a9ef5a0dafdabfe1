/**
 * How much memory each region gets: the part of a memory plan that goes down with the Load message, field by field the
 * LoadBudget of native/runtime/load_message.h. The sum of the regions, each rounded up to pages, is at most budgetBytes.
 */
/** How keys and values are stored: halves, or blocks of 32 with a scale (34 bytes). Part of the recipe: it changes logits. */
export type KvType = 'f16' | 'q8_0'

export interface RegionSizes {
  readonly budgetBytes: number
  readonly trunkBytes: number
  /** Hulls of the first pinCount bands of the pin order. */
  readonly pinnedBytes: number
  readonly ringBytes: number
  readonly poolSlotBytes: number
  readonly rowSlotBytes: number
  readonly kvBytes: number
  readonly kvType: KvType
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
