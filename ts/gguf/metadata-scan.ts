/**
 * One pass over the metadata that notes where each value lies and checks that it is whole; nothing is decoded.
 *
 * Strings and numeric arrays are passed over by their length. Arrays of strings get one table of offsets, filled in the
 * same pass: 776,000 strings take 3 MiB and some 20 ms, no object per string.
 */
import { quote, number, type Fault } from './failure.js'
import type { GgufLimits } from './limits.js'
import { add, mul, type HeaderReader } from './reader.js'
import { valueTypes, type ValueType } from './types.js'

/** Where a value lies. Offsets count from the first byte of the metadata, not of the file. */
export interface ValueEntry {
  readonly type: ValueType
  /** First byte of the payload: of the text for strings, of the first element for arrays. */
  readonly begin: number
  readonly end: number
  /** For arrays. */
  readonly of?: ValueType
  readonly length: number
  /** For arrays of strings: where each string's 8-byte length stands, and the end. */
  readonly starts?: Uint32Array
}

export interface MetadataScan {
  readonly entries: Map<string, ValueEntry>
  /** File offset of the first byte, and the number of bytes. */
  readonly origin: number
  readonly bytes: number
}

/** Bytes of a scalar by type id; undefined for strings and arrays. */
export const scalarBytes: Readonly<Record<ValueType, number | undefined>> = {
  u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1, string: undefined, array: undefined, u64: 8, i64: 8, f64: 8,
}

const typeOfId: readonly ValueType[] = (Object.keys(valueTypes) as ValueType[]).sort((a, b) => valueTypes[a] - valueTypes[b])
const stringPrefixBytes = 8
/** Key length, shortest key, type, shortest value. */
export const keyEntryBytesMin: number = 8 + 1 + 4 + 1

/** Reads `count` keys from the reader's position on. */
export async function scanMetadata(reader: HeaderReader, count: number, limits: GgufLimits): Promise<MetadataScan> {
  const origin = reader.position
  const entries = new Map<string, ValueEntry>()
  for (let index = 0; index < count; index++) {
    const key = await readKey(reader, index, entries, limits)
    entries.set(key, await readValue(reader, origin, quote(key), limits))
  }
  return { entries, origin, bytes: reader.position - origin }
}

async function readKey(reader: HeaderReader, index: number, known: ReadonlyMap<string, ValueEntry>, limits: GgufLimits): Promise<string> {
  reader.about('K1', 'key', index)
  await reader.load(8)
  const at = reader.position
  const bytes = reader.count(limits.keyBytes)
  if (bytes === 0) throw reader.fail('a key has no name.', { offset: at, found: 0, allowed: `1 to ${limits.keyBytes} bytes` })
  if (bytes > reader.remaining) throw reader.tooShort(bytes)
  await reader.load(bytes)
  reader.about('K2', 'key', index)
  const key = reader.name(bytes)
  if (known.has(key)) {
    reader.about('K3', 'key', index)
    throw reader.fail(`the key ${quote(key)} stands twice in the metadata.`, { offset: at, found: quote(key), allowed: 'each key once' })
  }
  return key
}

async function readValue(reader: HeaderReader, origin: number, field: string, limits: GgufLimits): Promise<ValueEntry> {
  reader.about('K4', field)
  // The longest fixed part: type, element type, count.
  await reader.load(4 + 4 + 8)
  const type = readType(reader)
  if (type === 'string') {
    reader.about('K5', field)
    const bytes = reader.count(limits.stringBytes)
    const begin = reader.position - origin
    advance(reader, origin, bytes, limits)
    return { type, begin, end: begin + bytes, length: 1 }
  }
  if (type === 'array') return readArray(reader, origin, field, limits)
  const begin = reader.position - origin
  if (type === 'bool') {
    reader.about('K10', field)
    const value = reader.u8()
    if (value > 1) throw reader.fail(`the truth value of ${field} is ${value}.`, { offset: origin + begin, found: value, allowed: '0 or 1' })
    return { type, begin, end: begin + 1, length: 1 }
  }
  const bytes = scalarBytes[type]!
  reader.about('H2', field)
  advance(reader, origin, bytes, limits)
  return { type, begin, end: begin + bytes, length: 1 }
}

async function readArray(reader: HeaderReader, origin: number, field: string, limits: GgufLimits): Promise<ValueEntry> {
  reader.about('K9', field)
  const typeAt = reader.position
  const of = readType(reader)
  if (of === 'array') {
    reader.about('K8', field)
    throw reader.fail(`${field} is an array of arrays, which no known model uses.`, { offset: typeAt, found: 'array of arrays', allowed: 'scalars and strings' })
  }
  reader.about(of === 'string' ? 'K7' : 'K6', field)
  const at = reader.position
  const length = reader.count(limits.arrayElements)
  const elementBytes = scalarBytes[of] ?? stringPrefixBytes
  const bytes = mul(length, elementBytes, reader.remaining)
  if (bytes === undefined) {
    throw reader.fail(`${field} declares ${number(length)} elements, but only ${number(reader.remaining)} bytes of the file are left.`,
      { offset: at, found: length, allowed: `0 to ${Math.floor(reader.remaining / elementBytes)}` })
  }
  const begin = reader.position - origin
  if (of === 'string') {
    const starts = await readStrings(reader, origin, length, field, limits)
    return { type: 'array', of, begin, end: reader.position - origin, length, starts }
  }
  advance(reader, origin, bytes, limits)
  return { type: 'array', of, begin, end: begin + bytes, length }
}

async function readStrings(reader: HeaderReader, origin: number, length: number, field: string, limits: GgufLimits): Promise<Uint32Array> {
  const starts = new Uint32Array(length + 1)
  for (let i = 0; i < length; i++) {
    reader.about('K5', field, i)
    if (!reader.loaded(stringPrefixBytes)) await reader.load(stringPrefixBytes)
    starts[i] = reader.position - origin
    advance(reader, origin, reader.count(limits.stringBytes), limits)
  }
  starts[length] = reader.position - origin
  return starts
}

function readType(reader: HeaderReader): ValueType {
  const at = reader.position
  const id = reader.u32()
  const type = typeOfId[id]
  if (type === undefined) throw reader.fail(`the value type ${number(id)} does not exist.`, { offset: at, found: id, allowed: '0 to 12' })
  return type
}

/** Passes over a payload, inside the limit of all metadata. */
function advance(reader: HeaderReader, origin: number, bytes: number, limits: GgufLimits): void {
  if (add(reader.position - origin, bytes, limits.metadataBytes) === undefined) {
    const fault: Partial<Fault> = { rule: 'K14', found: reader.position - origin + bytes, allowed: `0 to ${limits.metadataBytes} bytes` }
    throw reader.fail(`the metadata takes more than ${number(limits.metadataBytes)} bytes.`, fault)
  }
  reader.skip(bytes)
}
