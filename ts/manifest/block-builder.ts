/**
 * Collects blocks and extents in order and hands them out as columns. Used once per manifest, by block-manifest.ts.
 */
import { cutRows, hullBytes } from './bands.js'
import type { Slice } from './tensors.js'

/** Numbers of BlockKind in native/scheduler/block_table.h. */
export const blockKinds = { trunk: 0, band: 1, rowBand: 2, expert: 3 } as const
export type BlockKind = keyof typeof blockKinds

/** "No layer" and "no tensor" in the columns. */
export const noLayer = 0xffff
export const noTensor = 0xffffffff

/** One entry per block id. */
export interface BlockColumns {
  readonly count: number
  readonly kind: Uint8Array
  /** Index into the manifest's tensors; noTensor for experts. */
  readonly tensor: Uint32Array
  readonly layer: Uint16Array
  readonly expert: Uint16Array
  readonly firstExtent: Uint32Array
  readonly extentCount: Uint8Array
  readonly rowBegin: Uint32Array
  readonly rowCount: Uint32Array
  /** Sum of the extents' hulls: what the block occupies in memory and costs to read. */
  readonly hullBytes: Float64Array
}

export interface ExtentColumns {
  readonly count: number
  readonly file: Uint32Array
  readonly type: Uint32Array
  readonly offset: Float64Array
  readonly bytes: Float64Array
}

export interface NewBlock {
  readonly kind: BlockKind
  readonly tensor?: number
  readonly layer: number | undefined
  readonly expert?: number
  readonly rowBegin?: number
  readonly rowCount?: number
  /** In the order in which the decoder names them. */
  readonly extents: readonly Slice[]
}

export interface BlockBuilder {
  count(): number
  add(block: NewBlock): void
  /** Blocks of `rowsPerBlock` rows of one matrix, ascending; the last one shorter. */
  addBands(
    kind: 'band' | 'rowBand', tensor: number, layer: number | undefined, matrix: Slice, nRows: number, rowsPerBlock: number,
  ): void
  blocks(): BlockColumns
  extents(): ExtentColumns
}

const slotBytes = ({ extents }: NewBlock): number =>
  extents.reduce((sum, { offset, bytes }) => sum + hullBytes(offset, bytes), 0)

export function blockBuilder(): BlockBuilder {
  const added: NewBlock[] = []
  const add = (block: NewBlock): void => void added.push(block)

  const addBands: BlockBuilder['addBands'] = (kind, tensor, layer, matrix, nRows, rowsPerBlock) => {
    const bytesPerRow = matrix.bytes / nRows
    for (const { begin, count } of cutRows(nRows, rowsPerBlock)) {
      const offset = matrix.offset + begin * bytesPerRow
      const extent = { ...matrix, offset, bytes: count * bytesPerRow }
      add({ kind, tensor, layer, rowBegin: begin, rowCount: count, extents: [extent] })
    }
  }

  const blocks = (): BlockColumns => {
    let extents = 0
    const firstExtent = Uint32Array.from(added, (block) => (extents += block.extents.length) - block.extents.length)
    return {
      count: added.length,
      kind: Uint8Array.from(added, ({ kind }) => blockKinds[kind]),
      tensor: Uint32Array.from(added, ({ tensor }) => tensor ?? noTensor),
      layer: Uint16Array.from(added, ({ layer }) => layer ?? noLayer),
      expert: Uint16Array.from(added, ({ expert }) => expert ?? 0),
      firstExtent,
      extentCount: Uint8Array.from(added, (block) => block.extents.length),
      rowBegin: Uint32Array.from(added, ({ rowBegin }) => rowBegin ?? 0),
      rowCount: Uint32Array.from(added, ({ rowCount }) => rowCount ?? 0),
      hullBytes: Float64Array.from(added, slotBytes),
    }
  }

  const extents = (): ExtentColumns => {
    const all = added.flatMap((block) => block.extents)
    return {
      count: all.length,
      file: Uint32Array.from(all, ({ file }) => file),
      type: Uint32Array.from(all, ({ type }) => type),
      offset: Float64Array.from(all, ({ offset }) => offset),
      bytes: Float64Array.from(all, ({ bytes }) => bytes),
    }
  }

  return { count: () => added.length, add, addBands, blocks, extents }
}
