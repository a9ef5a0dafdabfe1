/**
 * What a model is made of, as the native side needs it: tensors by role, blocks by kind, extents by file.
 *
 * A block is the unit of residency. Blocks are numbered bands first, in the order in which a sweep uses them (ascending ids
 * are the cycle), then experts layer by layer, then bands of the token embedding, then the trunk. Columns are typed arrays:
 * a model of 128 experts has tens of thousands of blocks.
 */
import type { GgufFileInfo, GgufModel } from '../gguf/types.js'
import { architectureOf } from './architectures/index.js'
import { rowsPerBand, rowsPerRowBand } from './bands.js'
import { blockBuilder, type BlockBuilder, type BlockColumns, type ExtentColumns } from './block-builder.js'
import { modelError } from './model-error.js'
import type { ModelSpec } from './model-spec.js'
import { pinOrder } from './pin-order.js'
import { readModelSpec } from './read-spec.js'
import { residenceOf, type Residence, type TensorRole } from './tensor-role.js'
import { assignTensors, type AssignedTensor } from './tensors.js'

/** kBlocksMax of native/base/limits.h. */
const blocksMax = 2 ** 24

export interface ManifestTensor {
  readonly role: TensorRole
  /** undefined: of the whole model. */
  readonly layer: number | undefined
  readonly name: string
  /** ggml type id; of expert 0 for experts. */
  readonly type: number
  /** Per expert for experts. */
  readonly rows: number
  readonly cols: number
  /** Experts: the block of expert 0 of this layer. */
  readonly firstBlock: number
  readonly blockCount: number
}

/** Ids from `first` to `first + count - 1`. */
export interface BlockRange {
  readonly first: number
  readonly count: number
}

export interface BlockManifest {
  /** general.architecture */
  readonly architecture: string
  readonly spec: ModelSpec
  readonly files: readonly GgufFileInfo[]
  readonly tensors: readonly ManifestTensor[]
  readonly blocks: BlockColumns
  readonly extents: ExtentColumns
  readonly bands: BlockRange
  readonly experts: BlockRange
  readonly rowBands: BlockRange
  readonly trunk: BlockRange
  /** Band ids, most worth pinning first. */
  readonly pinOrder: Uint32Array
  /** Bands from here on are needed only by sweeps that want logits. */
  readonly firstHeadBand: number
  /** Sum of the bands' hulls: what one token reads of them when nothing is pinned. */
  readonly cycleBytes: number
  readonly largestBandBytes: number
  /** Sum of the trunk blocks' hulls. */
  readonly trunkBytes: number
  /** Largest expert, hulls of all its extents; 0 without experts. */
  readonly expertSlotBytes: number
  /** Sum of the experts' hulls. */
  readonly expertBytes: number
  /** Largest band of the token embedding. */
  readonly rowSlotBytes: number
}

/**
 * Turns a file's header into a manifest; reads no weights (a factors tensor of a few hundred bytes excepted).
 * Errors: UNSUPPORTED_ARCH, CORRUPT_GGUF, UNSUPPORTED_MODEL, UNSUPPORTED_TENSOR_TYPE.
 */
export async function buildManifest(model: GgufModel): Promise<BlockManifest> {
  const architecture = architectureOf(model)
  const spec = await readModelSpec(model, architecture)
  const assigned = assignTensors(model, architecture, spec)

  const builder = blockBuilder()
  const ranges = new Map<number, BlockRange>()
  const bands = placeAll(builder, assigned, ['bands'], ranges)
  const experts = placeExperts(builder, assigned, spec, ranges)
  const rowBands = placeAll(builder, assigned, ['rows'], ranges)
  const trunk = placeAll(builder, assigned, ['vector', 'router'], ranges)
  const tensors = assigned.map(({ role, layer, name, rows, cols, slices }, index): ManifestTensor => {
    const { first, count } = ranges.get(index)!
    return { role, layer, name, type: slices[0]!.type, rows, cols, firstBlock: first, blockCount: count }
  })
  const blocks = builder.blocks()
  if (blocks.count > blocksMax) {
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_MODEL',
      `the weights make ${blocks.count} blocks; at most ${blocksMax} are possible.`,
      { found: blocks.count, allowed: blocksMax },
    )
  }
  const hulls = ({ first, count }: BlockRange): Float64Array => blocks.hullBytes.subarray(first, first + count)
  const sum = (range: BlockRange): number => hulls(range).reduce((total, bytes) => total + bytes, 0)
  const largest = (range: BlockRange): number => hulls(range).reduce((most, bytes) => Math.max(most, bytes), 0)
  return {
    architecture: architecture.name,
    spec,
    files: model.files,
    tensors,
    blocks,
    extents: builder.extents(),
    bands,
    experts,
    rowBands,
    trunk,
    pinOrder: pinOrder(bands.count),
    firstHeadBand: tensors.find(({ role }) => role === 'output')!.firstBlock,
    cycleBytes: sum(bands),
    largestBandBytes: largest(bands),
    trunkBytes: sum(trunk),
    expertSlotBytes: largest(experts),
    expertBytes: sum(experts),
    rowSlotBytes: largest(rowBands),
  }
}

/** Blocks of all tensors of these residences, in order; notes each tensor's range by its index. */
function placeAll(
  builder: BlockBuilder,
  assigned: readonly AssignedTensor[],
  residences: readonly Residence[],
  ranges: Map<number, BlockRange>,
): BlockRange {
  const begin = builder.count()
  assigned.forEach((tensor, index) => {
    const residence = residenceOf(tensor.role)
    if (!residences.includes(residence)) return
    const first = builder.count()
    placeTensor(builder, tensor, index, residence)
    ranges.set(index, { first, count: builder.count() - first })
  })
  return { first: begin, count: builder.count() - begin }
}

function placeTensor(builder: BlockBuilder, tensor: AssignedTensor, index: number, residence: Residence): void {
  const { layer, rows } = tensor
  const slice = tensor.slices[0]!
  const perBand = (): number => rowsPerBand(rows, slice.bytes / rows, slice.offset)
  if (residence === 'bands') builder.addBands('band', index, layer, slice, rows, perBand())
  else if (residence === 'rows') builder.addBands('rowBand', index, layer, slice, rows, rowsPerRowBand)
  else builder.add({ kind: 'trunk', tensor: index, layer, rowCount: rows, extents: [slice] })
}

/** One block per layer and expert; its extents in the order gate, up, down (or gate-and-up, down). */
function placeExperts(
  builder: BlockBuilder, assigned: readonly AssignedTensor[], spec: ModelSpec, ranges: Map<number, BlockRange>,
): BlockRange {
  const begin = builder.count()
  const byLayer = new Map<number, number[]>()
  assigned.forEach(({ role, layer }, index) => {
    if (residenceOf(role) !== 'experts') return
    byLayer.set(layer!, [...(byLayer.get(layer!) ?? []), index])
  })
  for (const [layer, indices] of byLayer) {
    const first = builder.count()
    for (let expert = 0; expert < spec.nExpert; expert++) {
      builder.add({ kind: 'expert', layer, expert, extents: indices.map((index) => assigned[index]!.slices[expert]!) })
    }
    for (const index of indices) ranges.set(index, { first, count: spec.nExpert })
  }
  return { first: begin, count: builder.count() - begin }
}
