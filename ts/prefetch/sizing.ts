/**
 * The arithmetic of a memory plan for one model, context and machine: what each part needs, and how a budget is divided.
 *
 * The rules are told in memory-budget.ts. Pure: the same request gives the same numbers.
 */
import type { BlockManifest } from '../manifest/block-manifest.js'
import { isMixtureLayer, type ModelSpec } from '../manifest/model-spec.js'
import { addUp, pages, wholePages, type MemoryItems } from './memory-items.js'

/** Exact sizes from the native side; `contextLength` is a multiple of the KV page. */
export type Measure = (batchPositions: number, contextLength: number) => {
  readonly kvBytes: number
  readonly scratchBytes: number
}

export interface SizingRequest {
  readonly manifest: BlockManifest
  readonly measure: Measure
  /** A multiple of the KV page. */
  readonly contextLength: number
  readonly ioDepth: number
  /** Never keep everything. */
  readonly streamOnly: boolean
}

export interface Division {
  readonly items: MemoryItems
  readonly pinCount: number
  readonly poolSlots: number
  readonly rowSlots: number
  readonly resident: boolean
}

export interface Sizing {
  /** Least memory that runs sweeps of this many positions. */
  floor(batchPositions: number): MemoryItems
  /** Least memory that keeps all bands and experts. */
  resident(batchPositions: number): MemoryItems
  /** All bands and one token's experts; undefined for dense models. */
  cliff(): MemoryItems | undefined
  recommended(batchPositions: number): MemoryItems
  /** budgetBytes: whole pages, at least the floor of this batch. */
  divide(budgetBytes: number, batchPositions: number): Division
}

const rowSlotsWanted = 64
const rowsShare = 1 / 32
const ringBytesWanted: number = 64 * 2 ** 20
const cycleShare = 1 / 4
/** One expert is computed while the next is read. */
export const poolSlotsLeast = 2

/** Experts that one token chooses, over all layers. */
export function expertsPerToken(spec: ModelSpec): number {
  let layers = 0
  for (let layer = 0; layer < spec.nLayer; layer++) if (isMixtureLayer(spec, layer)) layers++
  return layers * spec.nExpertUsed
}

/** The ring's least and wanted size; `streams` is false where a ring would be as large as the cycle, so that bands cannot leave. */
export function ringSizes({ cycleBytes, largestBandBytes }: BlockManifest, ioDepth: number): { least: number; wanted: number; streams: boolean } {
  const quarter = wholePages(cycleBytes * cycleShare)
  const least = Math.min((ioDepth + 1) * largestBandBytes, Math.max(2 * largestBandBytes, quarter))
  const wanted = Math.max(least, Math.min(Math.max(ringBytesWanted, 2 * ioDepth * largestBandBytes), quarter))
  return { least, wanted, streams: least < cycleBytes }
}

/**
 * Slots of the expert pool beyond the least, where bands stream: one layer's experts may be read at once, out of at most half
 * of the `rest` that bands and they share.
 */
export function extraSlots(spec: ModelSpec, slotBytes: number, rest: number): number {
  return slotBytes === 0 ? 0 : Math.min(Math.max(0, spec.nExpertUsed - poolSlotsLeast), Math.floor(rest / 2 / slotBytes))
}

export function sizingOf({ manifest, measure, contextLength, ioDepth, streamOnly }: SizingRequest): Sizing {
  const { spec, cycleBytes, rowSlotBytes } = manifest
  const slotBytes = manifest.expertSlotBytes
  const slotsLeast = slotBytes === 0 ? 0 : poolSlotsLeast
  const slotsAll = slotBytes === 0 ? 0 : Math.max(poolSlotsLeast, manifest.experts.count)
  const { least: ringLeast, wanted: ringWanted } = ringSizes(manifest, ioDepth)
  const bandsLeast = Math.min(ringLeast, cycleBytes)
  const pinnedBytes = prefixBytes(manifest)

  const fixed = (batchPositions: number): { trunk: number; kv: number; scratch: number } => {
    const { kvBytes, scratchBytes } = measure(batchPositions, contextLength)
    return { trunk: manifest.trunkBytes, kv: pages(kvBytes), scratch: pages(scratchBytes) }
  }
  const allBands = { pinned: cycleBytes, ring: 0 }
  // Where a ring would be as large as the cycle, pinning is cheaper and never waits.
  const leastBands = ringLeast < cycleBytes ? { pinned: 0, ring: ringLeast } : allBands

  const floor: Sizing['floor'] = (batchPositions) => addUp({
    ...fixed(batchPositions), ...leastBands, experts: slotsLeast * slotBytes, rows: rowSlotBytes,
  })

  const resident: Sizing['resident'] = (batchPositions) => addUp({
    ...fixed(batchPositions), ...allBands, experts: slotsAll * slotBytes, rows: rowSlotBytes,
  })

  const cliffSlots = Math.min(slotsAll, Math.max(slotsLeast, expertsPerToken(spec)))
  const cliff: Sizing['cliff'] = () =>
    slotBytes === 0 ? undefined : addUp({ ...fixed(1), ...allBands, experts: cliffSlots * slotBytes, rows: rowSlotBytes })

  const recommended: Sizing['recommended'] = (batchPositions) => {
    const rows = Math.min(rowSlotsWanted, manifest.rowBands.count) * rowSlotBytes
    if (slotBytes > 0) {
      const slots = Math.min(slotsAll, Math.max(2 * cliffSlots, Math.ceil(slotsAll / 3)))
      return addUp({ ...fixed(batchPositions), ...allBands, experts: slots * slotBytes, rows })
    }
    const half = pinnedBytes[Math.ceil(manifest.bands.count / 2)]!
    const bands = ringLeast < cycleBytes ? { pinned: half, ring: ringWanted } : allBands
    return addUp({ ...fixed(batchPositions), ...bands, experts: 0, rows })
  }

  const divide: Sizing['divide'] = (budgetBytes, batchPositions) => {
    const base = fixed(batchPositions)
    const left = budgetBytes - base.trunk - base.kv - base.scratch
    const finish = (pinCount: number, ring: number, poolSlots: number, rowSlots: number): Division => ({
      items: addUp({
        ...base, pinned: pinnedBytes[pinCount]!, ring, experts: poolSlots * slotBytes, rows: rowSlots * rowSlotBytes,
      }),
      pinCount, poolSlots, rowSlots,
      resident: pinCount === manifest.bands.count && poolSlots === slotsAll,
    })

    const afterAll = left - cycleBytes - slotsAll * slotBytes
    if (!streamOnly && afterAll >= rowSlotBytes) {
      const rowSlots = Math.min(manifest.rowBands.count, Math.floor(afterAll / rowSlotBytes))
      return finish(manifest.bands.count, 0, slotsAll, rowSlots)
    }

    const spare = left - bandsLeast - slotsLeast * slotBytes
    const rowsThatFit = Math.floor(Math.min(left * rowsShare, spare) / rowSlotBytes)
    const rowSlots = Math.max(1, Math.min(rowSlotsWanted, manifest.rowBands.count, rowsThatFit))
    const weights = left - rowSlots * rowSlotBytes
    const afterBands = weights - cycleBytes - slotsLeast * slotBytes
    const mayPinAll = slotBytes > 0 || !streamOnly || ringLeast >= cycleBytes
    if (afterBands >= 0 && mayPinAll) {
      const slotsMost = streamOnly ? Math.max(slotsLeast, slotsAll - 1) : slotsAll
      const extra = slotBytes === 0 ? 0 : Math.floor(afterBands / slotBytes)
      return finish(manifest.bands.count, 0, Math.min(slotsMost, slotsLeast + extra), rowSlots)
    }

    const forBands = Math.min(weights, cycleBytes + slotsLeast * slotBytes)
    const ring = Math.max(ringLeast, Math.min(ringWanted, wholePages(forBands - slotsLeast * slotBytes)))
    const rest = forBands - ring - slotsLeast * slotBytes
    const extra = extraSlots(spec, slotBytes, rest)
    return finish(prefixCount(pinnedBytes, rest - extra * slotBytes), ring, slotsLeast + extra, rowSlots)
  }

  return { floor, resident, cliff, recommended, divide }
}

/** Bytes of the first n bands of the pin order, for n from 0 to all. */
export function prefixBytes({ pinOrder, blocks }: BlockManifest): Float64Array {
  const sums = new Float64Array(pinOrder.length + 1)
  pinOrder.forEach((band, rank) => {
    sums[rank + 1] = sums[rank]! + blocks.hullBytes[band]!
  })
  return sums
}

/** How many bands of the pin order fit into `bytes`. */
export function prefixCount(sums: Float64Array, bytes: number): number {
  let low = 0
  let high = sums.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (sums[middle]! <= bytes) low = middle
    else high = middle - 1
  }
  return low
}
