/**
 * Typed readers over the metadata's bytes: values are decoded when asked for, arrays of strings one string at a time.
 *
 * A value is read as the type its key must have. Integers of another width are taken when in range, an empty array is
 * taken as an array of anything; everything else is an error that names key, found type and wanted type.
 * Immutable after construction; keeps the metadata's bytes (usually 1 to 20 MiB) alive.
 */
import type { HypuraError } from '../base/errors.js'
import { corrupt, number, quote } from './failure.js'
import { ruleOfKey } from './key-rules.js'
import type { MetadataScan, ValueEntry } from './metadata-scan.js'
import type { ArrayInfo, Metadata, NumberArray, StringArray, ValueType } from './types.js'

const integerTypes: ReadonlySet<ValueType> = new Set(['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'])
const previewDefault = 8

/**
 * @param path for error messages
 * @param bytes the file's bytes from scan.origin on, scan.bytes of them
 */
export function createMetadata(path: string, scan: MetadataScan, bytes: Buffer): Metadata {
  return Object.freeze(new ScannedMetadata(path, scan, bytes))
}

class ScannedMetadata implements Metadata {
  readonly #path: string
  readonly #entries: ReadonlyMap<string, ValueEntry>
  readonly #origin: number
  readonly #bytes: Buffer

  constructor(path: string, scan: MetadataScan, bytes: Buffer) {
    this.#path = path
    this.#entries = scan.entries
    this.#origin = scan.origin
    this.#bytes = bytes
  }

  keys(): MapIterator<string> {
    return this.#entries.keys()
  }

  has(key: string): boolean {
    return this.#entries.has(key)
  }

  typeOf(key: string): ValueType | undefined {
    return this.#entries.get(key)?.type
  }

  arrayInfo(key: string): ArrayInfo | undefined {
    const entry = this.#entries.get(key)
    return entry?.of === undefined ? undefined : { type: entry.of, length: entry.length }
  }

  offsetOf(key: string): number | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined ? undefined : this.#origin + entry.begin
  }

  string(key: string): string | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type !== 'string') throw this.#wrongType(key, entry, 'string')
    return this.#bytes.toString('utf8', entry.begin, entry.end)
  }

  boolean(key: string): boolean | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type !== 'bool') throw this.#wrongType(key, entry, 'bool')
    return this.#bytes[entry.begin] === 1
  }

  integer(key: string, max: number = 0xffff_ffff): number | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (!integerTypes.has(entry.type)) throw this.#wrongType(key, entry, 'integer')
    const value = this.#scalar(entry) as number | bigint
    if (value < 0 || value > max) throw this.#outOfRange(key, entry, value, max)
    return Number(value)
  }

  float(key: string): number | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type !== 'f32' && entry.type !== 'f64' && !integerTypes.has(entry.type)) throw this.#wrongType(key, entry, 'number')
    const value = this.#scalar(entry) as number | bigint
    if (typeof value === 'bigint') throw this.#outOfRange(key, entry, value, Number.MAX_SAFE_INTEGER)
    return value
  }

  strings(key: string): StringArray | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type === 'array' && entry.length === 0) return new PackedStrings(this.#bytes, new Uint32Array(1))
    if (entry.starts === undefined) throw this.#wrongType(key, entry, 'array of strings')
    return new PackedStrings(this.#bytes, entry.starts)
  }

  numbers(key: string): NumberArray | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type === 'array' && entry.length === 0) return new Uint32Array(0)
    const wrap = entry.of === undefined ? undefined : numberArrays[entry.of]
    if (wrap === undefined) throw this.#wrongType(key, entry, 'array of numbers')
    return wrap(this.#copy(entry))
  }

  booleans(key: string): Uint8Array | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type === 'array' && entry.length === 0) return new Uint8Array(0)
    if (entry.of !== 'bool') throw this.#wrongType(key, entry, 'array of bools')
    const values = new Uint8Array(this.#copy(entry))
    const bad = values.findIndex((value) => value > 1)
    if (bad >= 0) {
      const fault = { path: this.#path, rule: 'K10', field: `${quote(key)} ${bad}`, offset: this.#origin + entry.begin + bad, found: values[bad]!, allowed: '0 or 1' }
      throw corrupt(fault, `the truth value ${bad} of ${quote(key)} is ${values[bad]}.`)
    }
    return values
  }

  preview(key: string, limit: number = previewDefault): unknown {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.type === 'string') return this.string(key)
    if (entry.type !== 'array') return this.#scalar(entry)
    const length = Math.min(limit, entry.length)
    const strings = entry.starts === undefined ? undefined : new PackedStrings(this.#bytes, entry.starts)
    if (strings !== undefined) return Array.from({ length }, (_, i) => strings.text(i))
    const step = entry.length === 0 ? 0 : (entry.end - entry.begin) / entry.length
    return Array.from({ length }, (_, i) => readScalar(this.#bytes, entry.of!, entry.begin + i * step))
  }

  #scalar(entry: ValueEntry): number | bigint | boolean {
    return readScalar(this.#bytes, entry.type, entry.begin)
  }

  #copy(entry: ValueEntry): ArrayBuffer {
    const copy = new Uint8Array(entry.end - entry.begin)
    copy.set(this.#bytes.subarray(entry.begin, entry.end))
    return copy.buffer
  }

  #wrongType(key: string, entry: ValueEntry, wanted: string): HypuraError {
    const found = entry.of === undefined ? entry.type : `array of ${entry.of}`
    const fault = { path: this.#path, rule: ruleOfKey(key), field: key.slice(0, 128), offset: this.#origin + entry.begin, found, allowed: wanted }
    return corrupt(fault, `the key ${quote(key)} has the type ${found}, wanted is ${wanted}.`)
  }

  #outOfRange(key: string, entry: ValueEntry, found: number | bigint, max: number): HypuraError {
    const fault = { path: this.#path, rule: ruleOfKey(key), field: key.slice(0, 128), offset: this.#origin + entry.begin, found, allowed: `0 to ${max}` }
    return corrupt(fault, `the key ${quote(key)} is ${found}, allowed is 0 to ${number(max)}.`)
  }
}

/** Strings as they lie in the file, each behind its 8-byte length. */
class PackedStrings implements StringArray {
  readonly length: number
  readonly #bytes: Buffer
  readonly #starts: Uint32Array

  constructor(bytes: Buffer, starts: Uint32Array) {
    this.length = starts.length - 1
    this.#bytes = bytes
    this.#starts = starts
    Object.freeze(this)
  }

  bytes(index: number): Uint8Array {
    this.#check(index)
    return this.#bytes.subarray(this.#starts[index]! + 8, this.#starts[index + 1]!)
  }

  text(index: number): string {
    this.#check(index)
    return this.#bytes.toString('utf8', this.#starts[index]! + 8, this.#starts[index + 1]!)
  }

  #check(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) throw new RangeError(`string ${index} of ${this.length}`)
  }
}

const numberArrays: Partial<Record<ValueType, (buffer: ArrayBuffer) => NumberArray>> = {
  u8: (buffer) => new Uint8Array(buffer),
  i8: (buffer) => new Int8Array(buffer),
  u16: (buffer) => new Uint16Array(buffer),
  i16: (buffer) => new Int16Array(buffer),
  u32: (buffer) => new Uint32Array(buffer),
  i32: (buffer) => new Int32Array(buffer),
  f32: (buffer) => new Float32Array(buffer),
  u64: (buffer) => new BigUint64Array(buffer),
  i64: (buffer) => new BigInt64Array(buffer),
  f64: (buffer) => new Float64Array(buffer),
}

/** One scalar; 64-bit integers beyond 2^53 - 1 stay bigint. */
function readScalar(bytes: Buffer, type: ValueType, at: number): number | bigint | boolean {
  switch (type) {
    case 'u8': return bytes.readUInt8(at)
    case 'i8': return bytes.readInt8(at)
    case 'u16': return bytes.readUInt16LE(at)
    case 'i16': return bytes.readInt16LE(at)
    case 'u32': return bytes.readUInt32LE(at)
    case 'i32': return bytes.readInt32LE(at)
    case 'f32': return bytes.readFloatLE(at)
    case 'f64': return bytes.readDoubleLE(at)
    case 'u64': return narrow(bytes.readBigUInt64LE(at))
    case 'i64': return narrow(bytes.readBigInt64LE(at))
    case 'bool': return bytes.readUInt8(at) !== 0
    case 'string': case 'array': throw new TypeError(`${type} is no scalar`)
  }
}

function narrow(value: bigint): number | bigint {
  const small = Number(value)
  return Number.isSafeInteger(small) ? small : value
}
