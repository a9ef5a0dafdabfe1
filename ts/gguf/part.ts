/**
 * One GGUF file: header, metadata and tensor table, checked against the file's size. Split models have several.
 *
 * Layout: "GGUF", version u32, tensor count u64, key count u64, keys, tensor entries, padding to the alignment, data.
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { corrupt, number, quote, refuse } from './failure.js'
import { openFile, type FileSource } from './file-source.js'
import { notGguf } from './foreign-formats.js'
import type { GgufLimits } from './limits.js'
import { createMetadata } from './metadata.js'
import { keyEntryBytesMin, scanMetadata } from './metadata-scan.js'
import { HeaderReader, type Deadline } from './reader.js'
import { placeTensors, scanTensors, tensorEntryBytesMin, type TensorEntry } from './tensor-table.js'
import type { GgufFileInfo, Metadata } from './types.js'

export interface GgufPart {
  readonly version: 2 | 3
  readonly metadata: Metadata
  readonly tensors: readonly TensorEntry[]
  readonly tensorBytes: number
  readonly file: GgufFileInfo
}

const alignmentDefault = 32
const headBytes = 64

/** Opens, reads and closes one file; its descriptor is closed on every way out. */
export async function readPart(path: string, deadline: Deadline, limits: GgufLimits): Promise<GgufPart> {
  await using source = await openFile(path)
  return await parsePart(source, deadline, limits)
}

async function parsePart(source: FileSource, deadline: Deadline, limits: GgufLimits): Promise<GgufPart> {
  const { path, sizeBytes, mtimeNs, inode, device } = source
  await requireMagic(source)
  const reader = new HeaderReader(source, deadline)
  reader.about('H2', 'header')
  await reader.load(24)
  reader.skip(4)
  const version = readVersion(reader, path)
  const tensorCount = readCount(reader, 'H7', 'tensor count', limits.tensors, tensorEntryBytesMin)
  const keyCount = readCount(reader, 'H8', 'key count', limits.keys, keyEntryBytesMin)

  const scan = await scanMetadata(reader, keyCount, limits)
  const bytes = Buffer.allocUnsafeSlow(scan.bytes)
  await source.read(bytes, scan.origin)
  const metadata = createMetadata(path, scan, bytes)
  const alignment = readAlignment(metadata, path, limits)

  const tensors = await scanTensors(reader, tensorCount, alignment, limits)
  const dataOffset = Math.ceil(reader.position / alignment) * alignment
  const tensorBytes = placeTensors(tensors, dataOffset, path, sizeBytes, limits)
  return { version, metadata, tensors, tensorBytes, file: Object.freeze({ path, sizeBytes, mtimeNs, inode, device, dataOffset }) }
}

async function requireMagic(source: FileSource): Promise<void> {
  const head = new Uint8Array(Math.min(headBytes, source.sizeBytes))
  await source.read(head, 0)
  if (Buffer.from(head.subarray(0, 4)).toString('latin1') !== 'GGUF') throw notGguf(source.path, source.sizeBytes, head)
}

function readVersion(reader: HeaderReader, path: string): 2 | 3 {
  const offset = reader.position
  reader.about('H2', 'version')
  const version = reader.u32()
  if (version === 2 || version === 3) return version
  const fault = { path, rule: 'H6', field: 'version', offset, found: version, allowed: '2 or 3' }
  if (version !== 0 && (version & 0xffff) === 0) {
    throw refuse('ERR_HYPURA_UNSUPPORTED_MODEL', fault, 'this GGUF file is big-endian, made for another kind of processor.',
      'Get the little-endian file of this model, or convert it with gguf_convert_endian.py of llama.cpp.')
  }
  if (version === 1) {
    throw refuse('ERR_HYPURA_UNSUPPORTED_MODEL', fault, 'this is GGUF version 1, which was in use for a few days in August 2023.',
      'Get a current file of this model, or convert the original weights again.')
  }
  throw refuse('ERR_HYPURA_UNSUPPORTED_MODEL', fault, `this says GGUF version ${number(version)}; versions 2 and 3 are known here.`,
    'Update hypura; if it is current, the file is damaged: fetch it again.')
}

/** A count from the header, of entries that take at least `entryBytesMin` bytes each. */
function readCount(reader: HeaderReader, rule: string, field: string, limit: number, entryBytesMin: number): number {
  reader.about(rule, field)
  const offset = reader.position
  const count = reader.count(limit)
  if (count * entryBytesMin <= reader.remaining) return count
  throw reader.fail(`the header declares a ${field} of ${number(count)}, but only ${number(reader.remaining)} bytes of the file are left.`,
    { offset, found: count, allowed: `0 to ${Math.floor(reader.remaining / entryBytesMin)}` })
}

function readAlignment(metadata: Metadata, path: string, limits: GgufLimits): number {
  const key = 'general.alignment'
  const type = metadata.typeOf(key)
  if (type === undefined) return alignmentDefault
  const fault = { path, rule: 'K12', field: key, offset: metadata.offsetOf(key) }
  if (type !== 'u32') throw corrupt({ ...fault, found: type, allowed: 'u32' }, `the key ${quote(key)} has the type ${type}, wanted is u32.`)
  const alignment = metadata.integer(key)!
  if (alignment >= 1 && alignment <= limits.alignment && Number.isInteger(Math.log2(alignment))) return alignment
  throw corrupt({ ...fault, found: alignment, allowed: `a power of two, 1 to ${limits.alignment}` },
    `the alignment is ${number(alignment)}; it must be a power of two from 1 to ${number(limits.alignment)}.`)
}
