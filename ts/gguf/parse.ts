/**
 * Opens a model: one GGUF file, or all parts of a split one, read and checked up to the first byte of tensor data.
 *
 * Files are strangers' work. Whatever they contain, the outcome is a frozen description in which every size and offset
 * was checked against the real files, or a HypuraError with rule, offset and field; no descriptor stays open.
 */
import { HypuraError, nearest } from '../base/errors.js'
import { corrupt, fileName, number, quote } from './failure.js'
import { openFile, requireUnchanged } from './file-source.js'
import { FrozenMap } from './frozen-map.js'
import { ggufLimits, type GgufLimits } from './limits.js'
import { readPart, type GgufPart } from './part.js'
import { Deadline } from './reader.js'
import { missingPart, partPaths, requireFellows, splitFacts } from './split.js'
import type { GgufFileInfo, GgufModel, Metadata, TensorInfo } from './types.js'

/**
 * @param path one file, or any part of a split model: the others are found beside it
 * @param limits for tests
 * @throws ERR_HYPURA_NOT_FOUND, _NOT_GGUF, _CORRUPT_GGUF, _UNSUPPORTED_MODEL, _UNSUPPORTED_TENSOR_TYPE, _SHARD_MISSING,
 *   _MODEL_CHANGED (changed while it was read), _IO
 */
export async function openGguf(path: string, limits: GgufLimits = ggufLimits): Promise<GgufModel> {
  const deadline = new Deadline(limits.parseMs)
  const parts = await readParts(path, deadline, limits)
  const { metadata, version, file } = parts[0]!
  requireArchitecture(metadata, file.path, limits)
  const tensors = joinTensors(parts)
  const files = Object.freeze(parts.map((part) => part.file))
  return Object.freeze({
    version, metadata, tensors, files,
    tensorBytes: parts.reduce((sum, part) => sum + part.tensorBytes, 0),
    readTensor: (name: string): Promise<Uint8Array> => readTensor(name, tensors, files, limits),
  })
}

async function readParts(path: string, deadline: Deadline, limits: GgufLimits): Promise<readonly GgufPart[]> {
  const given = await readPart(path, deadline, limits)
  const facts = splitFacts(given, limits)
  if (facts === undefined) return [given]
  const parts: GgufPart[] = []
  for (const [no, partPath] of partPaths(path, facts).entries()) {
    parts.push(no === facts.no ? given : await readPart(partPath, deadline, limits).catch((error: unknown) => {
      throw missingPart(error, partPath, no, facts.count)
    }))
  }
  requireFellows(parts, facts, limits)
  return parts
}

/** The family's name is required, and is a plain word: it is looked up in tables and printed. */
function requireArchitecture(metadata: Metadata, path: string, limits: GgufLimits): void {
  const key = 'general.architecture'
  const fault = { path, rule: 'K13', field: key, offset: metadata.offsetOf(key) }
  const name = metadata.string(key)
  if (name === undefined) throw corrupt({ ...fault, found: 'missing', allowed: 'the name of a family' }, `the key ${key} is missing, so nothing says which family of models this is.`)
  if (name.length > limits.architectureBytes || !/^[\w.-]+$/.test(name)) {
    throw corrupt({ ...fault, found: quote(name), allowed: `1 to ${limits.architectureBytes} of A-Z a-z 0-9 _ . -` }, `${quote(name)} is not the name of a family of models.`)
  }
}

function joinTensors(parts: readonly GgufPart[]): FrozenMap<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>()
  for (const [file, part] of parts.entries()) {
    for (const { name, dims, type, typeName, offset, bytes, at } of part.tensors) {
      if (tensors.has(name)) {
        throw corrupt({ path: part.file.path, rule: 'F2', field: `tensor ${quote(name)}`, offset: at, found: quote(name), allowed: 'each name once' },
          `the tensor ${quote(name)} is in two parts of the model.`, 'Put the parts of one model into one folder under their original names.')
      }
      tensors.set(name, Object.freeze({ name, dims: Object.freeze(dims), type, typeName, file, offset: part.file.dataOffset + offset, bytes }))
    }
  }
  return new FrozenMap(tensors)
}

async function readTensor(name: string, tensors: ReadonlyMap<string, TensorInfo>, files: readonly GgufFileInfo[], limits: GgufLimits): Promise<Uint8Array> {
  const tensor = tensors.get(name)
  if (tensor === undefined) {
    const near = nearest(name, tensors.keys())
    throw new HypuraError('ERR_HYPURA_NOT_FOUND', `The model has no tensor ${quote(name)}.${near === undefined ? '' : ` Did you mean ${quote(near)}?`}`, { field: name })
  }
  const file = files[tensor.file]!
  if (tensor.bytes > limits.readTensorBytes) {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT',
      `The tensor ${quote(name)} of ${fileName(file.path)} has ${number(tensor.bytes)} bytes; at most ${number(limits.readTensorBytes)} are read at once. Weights are streamed by the engine.`,
      { field: name, found: tensor.bytes, allowed: `0 to ${limits.readTensorBytes}` })
  }
  await using source = await openFile(file.path)
  requireUnchanged(file, source)
  const bytes = new Uint8Array(tensor.bytes)
  await source.read(bytes, tensor.offset)
  return bytes
}
