/**
 * The tensor table of one file: reading its entries, then placing them inside the file.
 *
 * Every size is multiplied and added with a limit; the first broken rule is the one reported. A dimension of 0 is legal
 * (placeholders occur), as are gaps, any order, and bytes after the last tensor.
 */
import type { HypuraError } from '../base/errors.js'
import { corrupt, cutShort, number, quote, refuse, type Fault } from './failure.js'
import type { GgufLimits } from './limits.js'
import { quantTypes, removedQuantTypes } from './quant-types.js'
import { add, mul, type HeaderReader } from './reader.js'

/** One entry: `offset` counts from the beginning of the data section. */
export interface TensorEntry {
  readonly name: string
  readonly dims: readonly number[]
  readonly type: number
  readonly typeName: string
  readonly offset: number
  readonly bytes: number
  readonly weights: number
  /** Where its offset field stands in the file, for errors. */
  readonly at: number
}

const maxSafe = Number.MAX_SAFE_INTEGER
/** Name length, shortest name, number of dimensions, type, offset. */
export const tensorEntryBytesMin: number = 8 + 1 + 4 + 4 + 8

/** Reads `count` entries from the reader's position on. */
export async function scanTensors(reader: HeaderReader, count: number, alignment: number, limits: GgufLimits): Promise<TensorEntry[]> {
  const longestEntry = 8 + limits.tensorNameBytes + 4 + 8 * limits.dims + 4 + 8
  const entries: TensorEntry[] = []
  const names = new Set<string>()
  for (let index = 0; index < count; index++) {
    reader.about('S1', 'tensor', index)
    if (!reader.loaded(longestEntry)) await reader.load(longestEntry)
    const name = readName(reader, index, names, limits)
    entries.push(readEntry(reader, name, alignment, limits))
  }
  return entries
}

function readName(reader: HeaderReader, index: number, known: Set<string>, limits: GgufLimits): string {
  const at = reader.position
  const bytes = reader.count(limits.tensorNameBytes)
  if (bytes === 0) throw reader.fail('a tensor has no name.', { offset: at, found: 0, allowed: `1 to ${limits.tensorNameBytes} bytes` })
  const name = reader.name(bytes)
  if (known.has(name)) throw reader.fail(`two tensors are called ${quote(name)}.`, { offset: at, field: `tensor ${index}`, found: quote(name), allowed: 'each name once' })
  known.add(name)
  return name
}

function readEntry(reader: HeaderReader, name: string, alignment: number, limits: GgufLimits): TensorEntry {
  reader.about('S2', 'tensor', name)
  const dimsAt = reader.position
  const nDims = reader.u32()
  if (nDims > limits.dims) throw reader.fail(`a tensor has ${number(nDims)} dimensions.`, { offset: dimsAt, found: nDims, allowed: `0 to ${limits.dims}` })

  reader.about('S3', 'tensor', name)
  const dims: number[] = []
  let weights: number | undefined = 1
  for (let i = 0; i < nDims; i++) {
    dims.push(reader.count(maxSafe))
    weights = weights === undefined ? undefined : mul(weights, dims[i]!, maxSafe)
  }
  if (weights === undefined) {
    const shape = dims.join(' x ')
    throw reader.fail(`a tensor of ${shape} has more weights than can be counted.`, { rule: 'S4', offset: dimsAt, found: shape, allowed: `0 to ${maxSafe} weights` })
  }
  const long = dims.find((dim) => dim > limits.dim)
  if (long !== undefined) throw reader.tooLarge(long, limits.dim, dimsAt + 4 + 8 * dims.indexOf(long))

  reader.about('S9', 'tensor', name)
  const typeAt = reader.position
  const type = reader.u32()
  const quant = quantTypes.get(type)
  if (quant === undefined) throw unknownType(reader.fault({ offset: typeAt, found: type, allowed: 'the types of ggml' }), type)
  const rowWeights = dims[0] ?? 1
  if (rowWeights % quant.blockWeights !== 0) {
    throw reader.fail(`a tensor has rows of ${number(rowWeights)} weights, but ${quant.name} stores blocks of ${quant.blockWeights}.`,
      { rule: 'S10', offset: dimsAt + 4, found: rowWeights, allowed: `a multiple of ${quant.blockWeights}` })
  }
  const bytes = mul(weights / quant.blockWeights, quant.blockBytes, maxSafe)
  if (bytes === undefined) {
    const shape = dims.join(' x ')
    throw reader.fail(`a tensor of ${shape} has more bytes than can be counted.`, { rule: 'S5', offset: dimsAt, found: shape, allowed: `0 to ${maxSafe} bytes` })
  }

  reader.about('S11', 'tensor', name)
  const at = reader.position
  const offset = reader.count(maxSafe)
  if (offset % alignment !== 0) {
    throw reader.fail(`a tensor begins at ${number(offset)} of the data, which is no multiple of the alignment ${number(alignment)}.`,
      { offset: at, found: offset, allowed: `a multiple of ${alignment}` })
  }
  return { name, dims, type, typeName: quant.name, offset, bytes, weights, at }
}

function unknownType(fault: Fault, type: number): HypuraError {
  const removed = removedQuantTypes.get(type)
  if (removed !== undefined) {
    return refuse('ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE', fault, `${fault.field} is of the type ${removed} (id ${type}), which was removed from the format.`,
      'Get the model again in a current quantisation, for example Q4_K_M or Q4_0.')
  }
  return refuse('ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE', fault, `${fault.field} is of a type with the id ${number(type)}, which is not known here.`,
    'Update hypura, or get the model in a common quantisation such as Q4_K_M.')
}

/**
 * Checks that all tensors lie inside the file, one beside the other.
 * @returns the sum of their bytes
 * @throws S15 (more weights than the file can hold), S7, S8 (sums), S11 (beyond the end), S12 (overlap)
 */
export function placeTensors(entries: readonly TensorEntry[], dataOffset: number, path: string, sizeBytes: number, limits: GgufLimits): number {
  let bytes = 0
  let weights = 0
  for (const entry of entries) {
    const sum = add(bytes, entry.bytes, maxSafe)
    if (sum === undefined) {
      const fault = { ...about(entry, path), rule: 'S7', found: entry.bytes, allowed: `0 to ${maxSafe - bytes}` }
      throw corrupt(fault, 'the tensors together have more bytes than can be counted.')
    }
    bytes = sum
    weights = Math.min(maxSafe, weights + entry.weights)
    if (add(dataOffset, add(entry.offset, entry.bytes, maxSafe) ?? maxSafe, maxSafe) === undefined) {
      const fault = { ...about(entry, path), rule: 'S8', found: entry.offset, allowed: `0 to ${maxSafe}` }
      throw corrupt(fault, 'a tensor ends at a byte beyond what can be counted.')
    }
  }
  const farthest = entries.reduce<TensorEntry | undefined>((far, entry) => (far === undefined || end(entry) > end(far) ? entry : far), undefined)
  if (farthest === undefined) return 0
  const needs = dataOffset + end(farthest)
  const fault = { ...about(farthest, path), rule: 'S11', found: needs, allowed: `0 to ${sizeBytes}` }
  if (weights > sizeBytes * limits.parametersPerByte) {
    throw cutShort({ ...fault, rule: 'S15', found: weights, allowed: `${limits.parametersPerByte} weights per byte of the file` }, sizeBytes, needs)
  }
  if (bytes > 0 && needs > sizeBytes) throw cutShort(fault, sizeBytes, needs)
  requireApart(entries, path)
  return bytes
}

function requireApart(entries: readonly TensorEntry[], path: string): void {
  const stored = entries.filter((entry) => entry.bytes > 0)
  const ordered = stored.every((entry, i) => i === 0 || stored[i - 1]!.offset <= entry.offset)
  const byOffset = ordered ? stored : stored.toSorted((a, b) => a.offset - b.offset)
  for (let i = 1; i < byOffset.length; i++) {
    const [before, after] = [byOffset[i - 1]!, byOffset[i]!]
    if (end(before) <= after.offset) continue
    throw corrupt(
      { ...about(after, path), rule: 'S12', found: after.offset, allowed: `from ${end(before)} on` },
      `the tensors ${quote(before.name)} and ${quote(after.name)} overlap in the file.`,
    )
  }
}

function about(entry: TensorEntry, path: string): Pick<Fault, 'path' | 'field' | 'offset'> {
  return { path, field: `tensor ${quote(entry.name)}`, offset: entry.at }
}

function end(entry: TensorEntry): number {
  return entry.offset + entry.bytes
}
