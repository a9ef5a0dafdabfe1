/**
 * What the parser hands to the layers above: a frozen description of one model, in one file or in several parts.
 *
 * Strings and big arrays stay ranges of the header's bytes and are decoded when asked for, so that 262,144 tokens and
 * 514,000 merges open in well under a second.
 *
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

/** Value types of GGUF metadata, by their ids on disk. */
export const valueTypes = {
  u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10, i64: 11, f64: 12,
} as const
export type ValueType = keyof typeof valueTypes

/** An array of strings, decoded one by one. Token texts may be invalid UTF-8: `bytes` is always exact. */
export interface StringArray {
  readonly length: number
  /** A view of the header's bytes; do not write. */
  bytes(index: number): Uint8Array
  /** Decoded as UTF-8, invalid sequences replaced by U+FFFD. */
  text(index: number): string
}

export type NumberArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigInt64Array | BigUint64Array

export interface ArrayInfo {
  readonly type: ValueType
  readonly length: number
}

/**
 * Typed access to metadata. Each reader returns undefined for a missing key and throws ERR_HYPURA_CORRUPT_GGUF, naming
 * key, found type and wanted type, for a key of another kind. Integers of any width are accepted when in range.
 */
export interface Metadata {
  /** Keys in file order. */
  keys(): IterableIterator<string>
  has(key: string): boolean
  /** The value's type, and the elements' for arrays. */
  typeOf(key: string): ValueType | undefined
  arrayInfo(key: string): ArrayInfo | undefined
  /** Byte offset of the value in its file, for error messages. */
  offsetOf(key: string): number | undefined
  string(key: string): string | undefined
  boolean(key: string): boolean | undefined
  /** An integer in 0 .. max (default 2^32 - 1). */
  integer(key: string, max?: number): number | undefined
  /** f32 or f64, or an integer. */
  float(key: string): number | undefined
  strings(key: string): StringArray | undefined
  /** An array of integers or floats, copied out. */
  numbers(key: string): NumberArray | undefined
  /** An array of bools, one byte each (0 or 1). */
  booleans(key: string): Uint8Array | undefined
  /** Any scalar as a plain value (u64 beyond 2^53 as bigint), an array's first `limit` elements; for `inspect`. */
  preview(key: string, limit?: number): unknown
}

export interface TensorInfo {
  readonly name: string
  /** ggml order: dims[0] is the length of a row, dims[1] the number of rows, dims[2] experts. 0 to 4 entries. */
  readonly dims: readonly number[]
  /** ggml type id and its name. Known by size, not necessarily supported by a kernel. */
  readonly type: number
  readonly typeName: string
  /** Index into GgufModel.files. */
  readonly file: number
  /** Byte offset from the beginning of that file. */
  readonly offset: number
  readonly bytes: number
}

export interface GgufFileInfo {
  readonly path: string
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
  /** Where the tensor data begins. */
  readonly dataOffset: number
}

export interface GgufModel {
  readonly version: 2 | 3
  readonly metadata: Metadata
  /** By name, in file order over all parts. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly files: readonly GgufFileInfo[]
  /** Sum of the tensors' bytes. */
  readonly tensorBytes: number
  /** A copy of one small tensor's bytes, read from its file. At most 64 MiB. */
  readTensor(name: string): Promise<Uint8Array>
}

// Entry points, in parse.ts:
//   openGguf(path: string): Promise<GgufModel>     any part of a split model is enough; all parts are found, checked and counted
// and in quant-types.ts:
//   quantTypes: ReadonlyMap<number, { name, blockWeights, blockBytes }>     every type known by size
