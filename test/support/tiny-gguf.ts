/**
 * Small valid GGUF files as lists of named fields, so that a malformed file is a valid one with one field changed.
 *
 * What a patch leaves undefined (counts, lengths, offsets, padding) is worked out when the bytes are made, so the rest
 * of the file stays consistent: a refusal is about the patched field and nothing else.
 */
import { ByteSink, padded, tensorBytes, type GgufValue } from '../../scripts/gguf-writer.js'
import { weightChunks } from '../../scripts/random-weights.js'
import { valueTypes } from '../../ts/gguf/types.js'

export interface TinyKey {
  key: string | Uint8Array
  /** Declared length of the key. */
  keyBytes?: bigint
  /** Type id on disk. */
  type: number
  /** Everything behind the type id. */
  payload: Uint8Array
}

export interface TinyTensor {
  name: string | Uint8Array
  nameBytes?: bigint
  nDims?: number
  dims: bigint[]
  type: number
  /** Relative to the data section. */
  offset?: bigint
  data: Uint8Array
}

export interface TinyFile {
  magic: string
  version: number
  tensorCount?: bigint
  keyCount?: bigint
  keys: TinyKey[]
  tensors: TinyTensor[]
  /** Of the layout; the key general.alignment is the patch's own business. */
  alignment: number
  /** Bytes behind the last tensor. */
  tail: Uint8Array
}

export type TinyKind = 'dense' | 'moe'
export type Patch = (file: TinyFile) => void

/** The bytes of a tiny model, about 10 KB (dense) or 30 KB (8 experts), after the patch. */
export function tinyGguf(patch?: Patch, kind: TinyKind = 'dense'): Uint8Array {
  const file = tinyFile(kind)
  patch?.(file)
  return encodeTiny(file)
}

/** The fields of a tiny model: two layers, 32 wide, 2 heads, 48 tokens. Each call makes a new one. */
export function tinyFile(kind: TinyKind = 'dense'): TinyFile {
  return { magic: 'GGUF', version: 3, keys: tinyKeys(kind), tensors: tinyTensors(kind), alignment: 32, tail: new Uint8Array(0) }
}

/** A key by name; a patch that misses its target is a mistake in the test. */
export function keyOf(file: TinyFile, name: string): TinyKey {
  const key = file.keys.find((candidate) => candidate.key === name)
  if (key === undefined) throw new Error(`the tiny file has no key ${name}`)
  return key
}

export function tensorOf(file: TinyFile, name: string): TinyTensor {
  const tensor = file.tensors.find((candidate) => candidate.name === name)
  if (tensor === undefined) throw new Error(`the tiny file has no tensor ${name}`)
  return tensor
}

/** Puts a value in place of a key's, or adds the key. */
export function setKey(file: TinyFile, name: string, value: GgufValue): void {
  const made = tinyKey(name, value)
  const at = file.keys.findIndex((candidate) => candidate.key === name)
  if (at < 0) file.keys.push(made)
  else file.keys[at] = made
}

export function tinyKey(key: string | Uint8Array, value: GgufValue): TinyKey {
  const sink = new ByteSink()
  sink.value(value)
  return { key, type: valueTypes[value.type], payload: sink.bytes().subarray(4) }
}

/** An F32 tensor of zeros, for tables that are about names and places. */
export function tinyTensor(name: string | Uint8Array, floats = 8): TinyTensor {
  return { name, dims: [BigInt(floats)], type: 0, data: new Uint8Array(4 * floats) }
}

export function encodeTiny(file: TinyFile): Uint8Array {
  const out = new ByteSink()
  out.raw(Buffer.from(file.magic, 'latin1'))
  out.scalar('u32', file.version)
  out.scalar('u64', file.tensorCount ?? file.tensors.length)
  out.scalar('u64', file.keyCount ?? file.keys.length)
  for (const { key, keyBytes, type, payload } of file.keys) {
    const bytes = Buffer.from(key)
    out.scalar('u64', keyBytes ?? bytes.length)
    out.raw(bytes)
    out.scalar('u32', type >>> 0)
    out.raw(payload)
  }
  let offset = 0
  for (const { name, nameBytes, nDims, dims, type, offset: given, data } of file.tensors) {
    const bytes = Buffer.from(name)
    out.scalar('u64', nameBytes ?? bytes.length)
    out.raw(bytes)
    out.scalar('u32', nDims ?? dims.length)
    for (const dim of dims) out.scalar('u64', BigInt.asUintN(64, dim))
    out.scalar('u32', type >>> 0)
    out.scalar('u64', BigInt.asUintN(64, given ?? BigInt(offset)))
    offset = padded(offset + data.length, file.alignment)
  }
  // The file ends with the last tensor's last byte: one byte less is one too few.
  for (const { data } of file.tensors) {
    out.raw(new Uint8Array(padded(out.length, file.alignment) - out.length))
    out.raw(data)
  }
  out.raw(file.tail)
  return out.bytes()
}

const width = 32
const vocab = ['<|endoftext|>', ...'abcdefghijklmnopqrstuvwxyz', '\u0120', ...'0123456789.,?!', 'he', 'th', '\u0120t', 'in', 'er', 'an']
const merges = ['h e', 't h', '\u0120 t', 'i n', 'e r', 'a n']
const family: Readonly<Record<TinyKind, string>> = { dense: 'llama', moe: 'qwen3moe' }

function tinyKeys(kind: TinyKind): TinyKey[] {
  const name = family[kind]
  const u32 = (key: string, value: number): TinyKey => tinyKey(key, { type: 'u32', value })
  const f32 = (key: string, value: number): TinyKey => tinyKey(key, { type: 'f32', value })
  const text = (key: string, value: string): TinyKey => tinyKey(key, { type: 'string', value })
  const experts = [u32(`${name}.expert_count`, 8), u32(`${name}.expert_used_count`, 2), u32(`${name}.expert_feed_forward_length`, width)]
  return [
    text('general.architecture', name),
    text('general.name', 'tiny'),
    u32(`${name}.block_count`, 2),
    u32(`${name}.context_length`, 64),
    u32(`${name}.embedding_length`, width),
    u32(`${name}.feed_forward_length`, width),
    u32(`${name}.attention.head_count`, 2),
    u32(`${name}.attention.head_count_kv`, 1),
    u32(`${name}.attention.key_length`, 16),
    u32(`${name}.attention.value_length`, 16),
    f32(`${name}.attention.layer_norm_rms_epsilon`, 1e-5),
    u32(`${name}.rope.dimension_count`, 16),
    f32(`${name}.rope.freq_base`, 10_000),
    u32(`${name}.vocab_size`, vocab.length),
    ...(kind === 'moe' ? experts : []),
    text('tokenizer.ggml.model', 'gpt2'),
    text('tokenizer.ggml.pre', 'gpt-2'),
    tinyKey('tokenizer.ggml.tokens', { type: 'array', of: 'string', values: vocab }),
    tinyKey('tokenizer.ggml.token_type', { type: 'array', of: 'i32', values: vocab.map((_, id) => (id === 0 ? 3 : 1)) }),
    tinyKey('tokenizer.ggml.merges', { type: 'array', of: 'string', values: merges }),
    u32('tokenizer.ggml.bos_token_id', 0),
    u32('tokenizer.ggml.eos_token_id', 0),
    tinyKey('tokenizer.ggml.add_bos_token', { type: 'bool', value: true }),
  ]
}

const f32 = 0
const q4_0 = 2

function tinyTensors(kind: TinyKind): TinyTensor[] {
  const weight = (name: string, ...dims: number[]): TinyTensor => randomTensor(name, q4_0, dims, 0, 1 / Math.sqrt(dims[0]!))
  const norm = (name: string, length: number): TinyTensor => randomTensor(name, f32, [length], 1, 0.1)
  const layer = (n: number): TinyTensor[] => [
    norm(`blk.${n}.attn_norm.weight`, width),
    weight(`blk.${n}.attn_q.weight`, width, 32),
    weight(`blk.${n}.attn_k.weight`, width, 16),
    weight(`blk.${n}.attn_v.weight`, width, 16),
    ...(kind === 'moe' ? [norm(`blk.${n}.attn_q_norm.weight`, 16), norm(`blk.${n}.attn_k_norm.weight`, 16)] : []),
    weight(`blk.${n}.attn_output.weight`, 32, width),
    norm(`blk.${n}.ffn_norm.weight`, width),
    ...(kind === 'moe'
      ? [
          randomTensor(`blk.${n}.ffn_gate_inp.weight`, f32, [width, 8], 0, 0.3),
          weight(`blk.${n}.ffn_gate_exps.weight`, width, width, 8),
          weight(`blk.${n}.ffn_up_exps.weight`, width, width, 8),
          weight(`blk.${n}.ffn_down_exps.weight`, width, width, 8),
        ]
      : ['gate', 'up', 'down'].map((part) => weight(`blk.${n}.ffn_${part}.weight`, width, width))),
  ]
  return [
    weight('token_embd.weight', width, vocab.length),
    ...layer(0),
    ...layer(1),
    weight('output.weight', width, vocab.length),
    norm('output_norm.weight', width),
  ]
}

function randomTensor(name: string, type: number, dims: readonly number[], mean: number, deviation: number): TinyTensor {
  const weights = dims.reduce((product, dim) => product * dim, 1)
  const data = Buffer.concat([...weightChunks({ type, weights, mean, deviation, seed: 1, name })].map((chunk) => Buffer.from(chunk)))
  if (data.length !== tensorBytes(type, dims)) throw new Error(`${name} has ${data.length} bytes`)
  return { name, dims: dims.map(BigInt), type, data }
}
