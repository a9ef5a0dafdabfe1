/**
 * Encodes the Load message: what the native side is told of a model, once. Format: docs/formats/load.md.
 *
 * Native checks every byte again (native/runtime/load_message.cpp); nothing is checked here that the manifest proved.
 */
import type { FileFacts } from '../../gguf/file-source.js'
import { noLayer } from '../../manifest/block-builder.js'
import type { BlockManifest } from '../../manifest/block-manifest.js'
import type { ModelSpec } from '../../manifest/model-spec.js'
import {
  abiVersion, activation, gating, kvType, loadFormat, loadMagic, qkNorm, ropeKind, tensorRole, weightPlacement,
} from '../../native/layout.gen.js'
import type { RegionSizes } from '../../prefetch/region-sizes.js'
import { recordBytes, SectionPlan, writeRecord, type RecordName } from './records.js'

/** One file of one copy. */
export interface LoadFile extends FileFacts {
  /** Index into the drives. Default 0. */
  readonly drive?: number
  /** Known to equal the first copy's file. Default true. */
  readonly verified?: boolean
}

export interface LoadCopies {
  /** The model itself included. */
  readonly count: number
  /** By drive; 0: not known. */
  readonly driveBytesPerSecond: readonly number[]
}

const oneCopy: LoadCopies = { count: 1, driveBytesPerSecond: [0] }

/**
 * The whole message.
 * @param files in the order that the manifest's extents name them; those of the first copy, then of the others
 */
export function encodeLoad(
  manifest: BlockManifest, spec: ModelSpec, files: readonly LoadFile[], budget: RegionSizes, copies: LoadCopies = oneCopy,
): ArrayBuffer {
  const { tensors, blocks, extents, pinOrder } = manifest
  const paths = files.map(({ path }) => new TextEncoder().encode(path))
  const stringsBytes = paths.reduce((sum, path) => sum + path.length, 0)

  const sections = new SectionPlan()
  const records = (name: RecordName, count: number): number => sections.place(recordBytes(name) * count)
  const headerAt = records('LoadHeader', 1)
  const filesAt = records('LoadFile', files.length)
  const drivesAt = records('LoadDrive', copies.driveBytesPerSecond.length)
  const specsAt = records('ModelSpec', 1)
  const tensorsAt = records('TensorEntry', tensors.length)
  const blocksAt = records('Block', blocks.count)
  const extentsAt = records('Extent', extents.count)
  const pinOrderAt = sections.place(pinOrder.length * 4)
  const invFreqAt = sections.place(spec.invFreq.length * 8)
  const budgetAt = records('LoadBudget', 1)
  const stringsAt = sections.place(stringsBytes)
  const message = new ArrayBuffer(sections.bytes)
  const view = new DataView(message)

  writeRecord(view, headerAt, 'LoadHeader', {
    magic: loadMagic, format: loadFormat, abiVersion,
    nFiles: files.length / copies.count, nModels: 1, nTensors: tensors.length, nBlocks: blocks.count, nExtents: extents.count,
    nPinOrder: pinOrder.length, firstHeadBand: manifest.firstHeadBand, nInvFreq: spec.invFreq.length,
    nCopies: copies.count, nDrives: copies.driveBytesPerSecond.length, filesOffset: filesAt, drivesOffset: drivesAt, specsOffset: specsAt, tensorsOffset: tensorsAt, blocksOffset: blocksAt, extentsOffset: extentsAt,
    pinOrderOffset: pinOrderAt, invFreqOffset: invFreqAt, budgetOffset: budgetAt, stringsOffset: stringsAt, stringsBytes,
  })
  writeFiles(view, filesAt, stringsAt, files, paths)
  copies.driveBytesPerSecond.forEach((bytesPerSecond, i) => writeRecord(view, drivesAt + i * recordBytes('LoadDrive'), 'LoadDrive', { bytesPerSecond }))
  writeSpec(view, specsAt, spec)
  writeTensors(view, tensorsAt, manifest)
  writeBlocks(view, blocksAt, manifest)
  writeExtents(view, extentsAt, manifest)
  pinOrder.forEach((band, i) => view.setUint32(pinOrderAt + i * 4, band, true))
  spec.invFreq.forEach((angle, i) => view.setFloat64(invFreqAt + i * 8, angle, true))
  writeRecord(view, budgetAt, 'LoadBudget', { ...budget, placement: weightPlacement[budget.placement], kType: kvType[budget.kvType], vType: kvType[budget.kvType] })
  return message
}

/** One ModelSpec record, as NativeBinding.measure takes it. */
export function encodeSpec(spec: ModelSpec): ArrayBuffer {
  const record = new ArrayBuffer(recordBytes('ModelSpec'))
  writeSpec(new DataView(record), 0, spec)
  return record
}

function writeSpec(view: DataView, at: number, spec: ModelSpec): void {
  const { invFreq, contextTrain, ...numbers } = spec
  writeRecord(view, at, 'ModelSpec', {
    ...numbers,
    rope: ropeKind[spec.rope],
    qkNorm: qkNorm[spec.qkNorm],
    activation: activation[spec.activation],
    gating: gating[spec.gating],
    gatingNormalised: Number(spec.gatingNormalised),
  })
}

function writeFiles(
  view: DataView, at: number, stringsAt: number, files: readonly LoadFile[], paths: readonly Uint8Array[],
): void {
  let pathOffset = 0
  files.forEach(({ sizeBytes, mtimeNs, inode, device, drive = 0, verified = true }, i) => {
    const path = paths[i]!
    writeRecord(view, at + i * recordBytes('LoadFile'), 'LoadFile', {
      sizeBytes, mtimeNs, inode, device, pathOffset, pathBytes: path.length, drive, verified: Number(verified),
    })
    new Uint8Array(view.buffer).set(path, stringsAt + pathOffset)
    pathOffset += path.length
  })
}

function writeTensors(view: DataView, at: number, { tensors }: BlockManifest): void {
  tensors.forEach(({ role, layer, type, rows, cols, firstBlock, blockCount }, i) => {
    writeRecord(view, at + i * recordBytes('TensorEntry'), 'TensorEntry', {
      role: tensorRole[role], layer: layer ?? noLayer, type, nRows: rows, nCols: cols, firstBlock, nBlocks: blockCount,
    })
  })
}

function writeBlocks(view: DataView, at: number, { blocks }: BlockManifest): void {
  for (let id = 0; id < blocks.count; id++) {
    writeRecord(view, at + id * recordBytes('Block'), 'Block', {
      tensor: blocks.tensor[id]!, layer: blocks.layer[id]!, expert: blocks.expert[id]!, kind: blocks.kind[id]!,
      nExtents: blocks.extentCount[id]!, firstExtent: blocks.firstExtent[id]!,
      rowBegin: blocks.rowBegin[id]!, rowCount: blocks.rowCount[id]!,
    })
  }
}

function writeExtents(view: DataView, at: number, { extents }: BlockManifest): void {
  for (let i = 0; i < extents.count; i++) {
    writeRecord(view, at + i * recordBytes('Extent'), 'Extent', {
      file: extents.file[i]!, type: extents.type[i]!, offsetBytes: extents.offset[i]!, sizeBytes: extents.bytes[i]!,
    })
  }
}
