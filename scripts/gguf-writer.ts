/**
 * Writes GGUF files for tests and generated models: metadata of every type, tensors as streams of bytes.
 *
 * Constant memory: the header is built in memory, tensor bytes pass through chunk by chunk. The files are as other
 * writers make them: little-endian, each tensor padded to the alignment, also the last.
 */
import { open } from 'node:fs/promises'
import { quantTypes } from '../ts/gguf/quant-types.js'
import { valueTypes, type ValueType } from '../ts/gguf/types.js'

export type ScalarType = Exclude<ValueType, 'array'>
export type GgufScalar = number | bigint | boolean | string | Uint8Array
export type GgufValue =
  | { readonly type: ScalarType; readonly value: GgufScalar }
  | { readonly type: 'array'; readonly of: ScalarType; readonly values: ArrayLike<GgufScalar> }

/** Keys in file order. */
export type GgufMetadata = Iterable<readonly [key: string, value: GgufValue]>

export interface TensorSource {
  readonly name: string
  /** ggml order: dims[0] is the length of a row. */
  readonly dims: readonly number[]
  /** ggml type id. */
  readonly type: number
  /** The tensor's bytes in order; a chunk may be overwritten once the next one is asked for. */
  chunks(): Iterable<Uint8Array>
}

export interface GgufContent {
  readonly version?: 2 | 3
  /** Written as general.alignment when it is not 32. */
  readonly alignment?: number
  readonly metadata: GgufMetadata
  readonly tensors: readonly TensorSource[]
}

/** Bytes of a tensor. Throws a RangeError for types without a size and rows that are no multiple of the block. */
export function tensorBytes(type: number, dims: readonly number[]): number {
  const quant = quantTypes.get(type)
  const row = dims[0] ?? 1
  if (quant === undefined || row % quant.blockWeights !== 0) throw new RangeError(`no ${row} weights per row in type ${type}`)
  return (dims.reduce((product, dim) => product * dim, 1) / quant.blockWeights) * quant.blockBytes
}

/** Writes one file and returns its size in bytes. Replaces an existing file. */
export async function writeGguf(path: string, content: GgufContent): Promise<number> {
  const alignment = content.alignment ?? 32
  const file = await open(path, 'w')
  try {
    let at = 0
    const append = async (bytes: Uint8Array): Promise<void> => {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at)
        done += bytesWritten
        at += bytesWritten
      }
    }
    const pad = (): Promise<void> => append(new Uint8Array(padded(at, alignment) - at))
    await append(encodeHeader(content))
    await pad()
    for (const tensor of content.tensors) {
      const begin = at
      for (const chunk of tensor.chunks()) await append(chunk)
      const wanted = tensorBytes(tensor.type, tensor.dims)
      if (at - begin !== wanted) throw new RangeError(`${tensor.name} delivered ${at - begin} bytes of ${wanted}`)
      await pad()
    }
    return at
  } finally {
    await file.close()
  }
}

/** Everything before the data section, without its padding. */
export function encodeHeader({ version = 3, alignment = 32, metadata, tensors }: GgufContent): Uint8Array {
  const entries = [...metadata]
  if (alignment !== 32) entries.push(['general.alignment', { type: 'u32', value: alignment }])
  const out = new ByteSink()
  out.raw(Buffer.from('GGUF'))
  out.scalar('u32', version)
  out.scalar('u64', tensors.length)
  out.scalar('u64', entries.length)
  for (const [key, value] of entries) {
    out.scalar('string', key)
    out.value(value)
  }
  let offset = 0
  for (const { name, dims, type } of tensors) {
    out.scalar('string', name)
    out.scalar('u32', dims.length)
    for (const dim of dims) out.scalar('u64', dim)
    out.scalar('u32', type)
    out.scalar('u64', offset)
    offset += padded(tensorBytes(type, dims), alignment)
  }
  return out.bytes()
}

export function padded(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

const scalarBytes = { u8: 1, i8: 1, bool: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, u64: 8, i64: 8, f64: 8 } as const

/** Bytes that grow at the end; each step doubles the room. */
export class ByteSink {
  #buffer: Buffer = Buffer.alloc(4096)
  #length = 0

  get length(): number {
    return this.#length
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#buffer.set(bytes, at)
  }

  /** A metadata value: type, for arrays also element type and count, then the bytes. */
  value(value: GgufValue): void {
    this.scalar('u32', valueTypes[value.type])
    if (value.type !== 'array') return this.scalar(value.type, value.value)
    this.scalar('u32', valueTypes[value.of])
    this.scalar('u64', value.values.length)
    for (let i = 0; i < value.values.length; i++) this.scalar(value.of, value.values[i]!)
  }

  /** Integers may be given as number or bigint; strings as text or bytes, with their length in front. */
  scalar(type: ScalarType, value: GgufScalar): void {
    if (type === 'string') {
      const bytes = value instanceof Uint8Array ? value : Buffer.from(String(value))
      this.scalar('u64', bytes.length)
      return this.raw(bytes)
    }
    const at = this.#room(scalarBytes[type])
    const buffer = this.#buffer
    switch (type) {
      case 'u8': case 'bool': buffer.writeUInt8(Number(value), at); return
      case 'i8': buffer.writeInt8(Number(value), at); return
      case 'u16': buffer.writeUInt16LE(Number(value), at); return
      case 'i16': buffer.writeInt16LE(Number(value), at); return
      case 'u32': buffer.writeUInt32LE(Number(value), at); return
      case 'i32': buffer.writeInt32LE(Number(value), at); return
      case 'f32': buffer.writeFloatLE(Number(value), at); return
      case 'u64': buffer.writeBigUInt64LE(BigInt(value as number | bigint), at); return
      case 'i64': buffer.writeBigInt64LE(BigInt(value as number | bigint), at); return
      case 'f64': buffer.writeDoubleLE(Number(value), at)
    }
  }

  /** Where the next `bytes` bytes go. May replace the buffer: ask before taking hold of it. */
  #room(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#buffer.length, this.#length))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    return at
  }
}
