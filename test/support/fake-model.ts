/**
 * A GgufModel from plain values, without a file: models of any size and any mistake, for tests of the layers above the parser.
 */
import { HypuraError } from '../../ts/base/errors.js'
import { quantTypes } from '../../ts/gguf/quant-types.js'
import type { GgufModel, Metadata, NumberArray, TensorInfo } from '../../ts/gguf/types.js'

export type FakeValue = string | number | boolean | readonly number[] | readonly string[]

export interface FakeTensor {
  readonly name: string
  /** As ggml writes them: row length first. */
  readonly dims: readonly number[]
  /** Default 'F32'. */
  readonly type?: string
  /** Values of an F32 tensor, for readTensor. */
  readonly values?: readonly number[]
}

export interface FakeModel {
  readonly metadata: Readonly<Record<string, FakeValue>>
  readonly tensors: readonly FakeTensor[]
  /** Where the tensor data begins; default 4000, so that nothing is page-aligned by luck. */
  readonly dataOffset?: number
}

const typeIds = new Map([...quantTypes].map(([id, { name }]) => [name, id]))

export function fakeModel({ metadata, tensors, dataOffset = 4000 }: FakeModel): GgufModel {
  let offset = dataOffset
  const infos = new Map<string, TensorInfo>()
  const values = new Map<string, readonly number[]>()
  for (const { name, dims, type = 'F32', values: given } of tensors) {
    const id = typeIds.get(type)!
    const { blockWeights, blockBytes } = quantTypes.get(id)!
    const bytes = (dims.reduce((product, dim) => product * dim, 1) / blockWeights) * blockBytes
    infos.set(name, { name, dims, type: id, typeName: type, file: 0, offset, bytes })
    if (given !== undefined) values.set(name, given)
    offset += Math.ceil(bytes / 32) * 32
  }
  const tensorBytes = [...infos.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  return {
    version: 3,
    metadata: fakeMetadata(metadata),
    tensors: infos,
    files: [{ path: 'fake.gguf', sizeBytes: offset, mtimeNs: 1_700_000_000_123_456_789n, inode: 2n ** 60n + 7n, device: 65_025n, dataOffset }],
    tensorBytes,
    readTensor: (name) => Promise.resolve(new Uint8Array(Float32Array.from(values.get(name) ?? []).buffer)),
  }
}

function fakeMetadata(values: Readonly<Record<string, FakeValue>>): Metadata {
  const get = (key: string): FakeValue | undefined => (Object.hasOwn(values, key) ? values[key] : undefined)
  const typed = <T>(key: string, wanted: string, is: (value: FakeValue) => boolean): T | undefined => {
    const value = get(key)
    if (value === undefined) return undefined
    if (is(value)) return value as T
    throw new HypuraError('ERR_HYPURA_CORRUPT_GGUF', `${key} is no ${wanted}`, { rule: 'K4', field: key })
  }
  const isNumber = (value: FakeValue): boolean => typeof value === 'number'
  return {
    keys: () => Object.keys(values).values(),
    has: (key) => get(key) !== undefined,
    typeOf: (key) => {
      const value = get(key)
      if (value === undefined) return undefined
      if (Array.isArray(value)) return 'array'
      return typeof value === 'string' ? 'string' : typeof value === 'boolean' ? 'bool' : Number.isInteger(value) ? 'u32' : 'f32'
    },
    arrayInfo: (key) => {
      const value = get(key)
      return Array.isArray(value) ? { type: typeof value[0] === 'string' ? 'string' : 'i32', length: value.length } : undefined
    },
    offsetOf: (key) => (get(key) === undefined ? undefined : 24 + Object.keys(values).indexOf(key)),
    string: (key) => typed(key, 'string', (value) => typeof value === 'string'),
    boolean: (key) => typed(key, 'bool', (value) => typeof value === 'boolean'),
    integer: (key, max = 2 ** 32 - 1) => typed(key, 'integer', (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= max),
    float: (key) => typed(key, 'number', isNumber),
    strings: () => undefined,
    numbers: (key) => {
      const value = typed<readonly number[]>(key, 'array of numbers', (found) => Array.isArray(found))
      return value === undefined ? undefined : (Float64Array.from(value) as NumberArray)
    },
    booleans: () => undefined,
    preview: get,
  }
}
