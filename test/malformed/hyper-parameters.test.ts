// What could break: a key of the wrong type is read as if it had the right one (a string as a count, bytes as floats), or
// an integer is rounded or wraps. How we notice: each typed reader must refuse the key by its class, and read its twin.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HypuraError } from '../../ts/base/errors.js'
import { openGguf } from '../../ts/gguf/parse.js'
import type { GgufValue } from '../../scripts/gguf-writer.js'
import type { Metadata } from '../../ts/gguf/types.js'
import { temporaryFolder } from '../support/malformed.js'
import { setKey, tinyGguf } from '../support/tiny-gguf.js'

type Read = (metadata: Metadata, key: string) => unknown
interface Row { readonly rule: string; readonly key: string; readonly read: Read; readonly bad: readonly (readonly [string, GgufValue])[] }

const integer: Read = (metadata, key) => metadata.integer(key)
const float: Read = (metadata, key) => metadata.float(key)
const string: Read = (metadata, key) => metadata.string(key)
const strings: Read = (metadata, key) => metadata.strings(key)
const numbers: Read = (metadata, key) => metadata.numbers(key)
const boolean: Read = (metadata, key) => metadata.boolean(key)

const text = ['string', { type: 'string', value: '2' }] as const
const f32 = ['f32', { type: 'f32', value: 2 }] as const
const bool = ['bool', { type: 'bool', value: true }] as const
const array = ['array of u32', { type: 'array', of: 'u32', values: [2] }] as const
const bytes = ['array of u8', { type: 'array', of: 'u8', values: [1, 2, 3] }] as const
const u32 = ['u32', { type: 'u32', value: 2 }] as const
const negative = ['i32 -1', { type: 'i32', value: -1 }] as const
const least = ['i64 -2^63', { type: 'i64', value: -(2n ** 63n) }] as const
const large = ['u64 2^63', { type: 'u64', value: 2n ** 63n }] as const
const wrapping = ['u64 2^32', { type: 'u64', value: 2n ** 32n }] as const
const notInteger = [text, f32, array, bool, negative, least, large, wrapping]

const rows: readonly Row[] = [
  { rule: 'P1', key: 'llama.block_count', read: integer, bad: notInteger },
  { rule: 'P2', key: 'llama.attention.head_count', read: integer, bad: notInteger },
  { rule: 'P2', key: 'llama.attention.head_count_kv', read: integer, bad: notInteger },
  { rule: 'P3', key: 'llama.embedding_length', read: integer, bad: notInteger },
  { rule: 'P4', key: 'llama.feed_forward_length', read: integer, bad: notInteger },
  { rule: 'P5', key: 'llama.expert_count', read: integer, bad: notInteger },
  { rule: 'P5', key: 'llama.expert_used_count', read: integer, bad: [negative, large] },
  { rule: 'P6', key: 'llama.context_length', read: integer, bad: notInteger },
  { rule: 'P7', key: 'llama.rope.dimension_count', read: integer, bad: notInteger },
  { rule: 'P7', key: 'llama.rope.freq_base', read: float, bad: [text, array, bool, large] },
  { rule: 'P8', key: 'llama.attention.layer_norm_rms_epsilon', read: float, bad: [text, array, bool] },
  { rule: 'P9', key: 'llama.vocab_size', read: integer, bad: notInteger },
  { rule: 'T1', key: 'tokenizer.ggml.tokens', read: strings, bad: [text, u32, bytes] },
  { rule: 'T2', key: 'tokenizer.ggml.token_type', read: numbers, bad: [text, u32, ['array of strings', { type: 'array', of: 'string', values: ['1'] }]] },
  { rule: 'T3', key: 'tokenizer.ggml.bos_token_id', read: integer, bad: [text, f32, negative, large] },
  { rule: 'T5', key: 'tokenizer.ggml.merges', read: strings, bad: [text, bytes] },
  { rule: 'T8', key: 'tokenizer.ggml.model', read: string, bad: [u32, bytes, bool] },
  { rule: 'T10', key: 'tokenizer.chat_template', read: string, bad: [u32, bytes] },
  { rule: 'K4', key: 'tokenizer.ggml.add_bos_token', read: boolean, bad: [text, u32, bytes] },
  { rule: 'F2', key: 'split.tensors.count', read: integer, bad: [text, f32] },
]

const folder = temporaryFolder()
const cases = rows.flatMap(({ rule, key, read, bad }) => bad.map(([name, value]) => [`${rule} ${key} as ${name}`, { rule, key, read, value }] as const))

test.each(cases)('%s', async (_, { rule, key, read, value }) => {
  const path = join(folder, 'model.gguf')
  writeFileSync(path, tinyGguf((file) => setKey(file, key, value)))
  const { metadata } = await openGguf(path)
  let error: unknown
  try {
    read(metadata, key)
  } catch (reason) {
    error = reason
  }
  expect(error).toBeInstanceOf(HypuraError)
  expect(error).toMatchObject({ code: 'ERR_HYPURA_CORRUPT_GGUF', details: { rule, field: key, offset: metadata.offsetOf(key) } })
})

test('integers of every width are taken when in range', async () => {
  const path = join(folder, 'widths.gguf')
  for (const type of ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'] as const) {
    writeFileSync(path, tinyGguf((file) => setKey(file, 'llama.block_count', { type, value: 2 })))
    expect((await openGguf(path)).metadata.integer('llama.block_count')).toBe(2)
    expect((await openGguf(path)).metadata.float('llama.block_count')).toBe(2)
  }
})

test('P10 a header without layers and tensors opens: what it lacks is for the manifest to say', async () => {
  const path = join(folder, 'minimal.gguf')
  writeFileSync(path, tinyGguf((file) => { file.tensors = []; file.keys.length = 1 }))
  const model = await openGguf(path)
  expect([model.tensors.size, model.tensorBytes]).toEqual([0, 0])
})
