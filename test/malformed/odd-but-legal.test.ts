// What could break: a stricter parser refuses files that people really have. How we notice: every one of them must load,
// with the values that stand in it.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openGguf } from '../../ts/gguf/parse.js'
import { temporaryFolder } from '../support/malformed.js'
import { keyOf, setKey, tensorOf, tinyGguf, tinyKey, tinyTensor, type Patch } from '../support/tiny-gguf.js'

const folder = temporaryFolder()

async function open(patch?: Patch): ReturnType<typeof openGguf> {
  const path = join(folder, 'model.gguf')
  writeFileSync(path, tinyGguf(patch))
  return openGguf(path)
}

test('A1 placeholder tensors with a dimension of 0', async () => {
  const { tensors } = await open((file) => {
    file.tensors.unshift({ name: 'empty.a', dims: [0n], type: 0, data: new Uint8Array(0) })
    file.tensors.push({ name: 'empty.b', dims: [0n, 5n, 7n], type: 2, data: new Uint8Array(0) })
  })
  expect([tensors.get('empty.a')?.bytes, tensors.get('empty.b')?.bytes]).toEqual([0, 0])
})

test('A1 scalar tensor: no dimensions, one value', async () => {
  const { tensors } = await open((file) => { file.tensors.push({ name: 'scalar', dims: [], type: 0, data: new Uint8Array(4) }) })
  expect(tensors.get('scalar')).toMatchObject({ dims: [], bytes: 4 })
})

test('A2 duplicate strings in the vocabulary', async () => {
  const { metadata } = await open((file) => setKey(file, 'tokenizer.ggml.tokens', { type: 'array', of: 'string', values: ['a', 'a', 'b', 'a'] }))
  expect(metadata.strings('tokenizer.ggml.tokens')!.text(3)).toBe('a')
})

test('A2 token texts that are no valid UTF-8 stay bytes', async () => {
  const { metadata } = await open((file) => setKey(file, 'tokenizer.ggml.tokens', { type: 'array', of: 'string', values: [Uint8Array.of(0xe2, 0x96), ''] }))
  const tokens = metadata.strings('tokenizer.ggml.tokens')!
  expect([...tokens.bytes(0)]).toEqual([0xe2, 0x96])
  expect([tokens.text(0), tokens.text(1)]).toEqual(['\ufffd', ''])
})

test('A3 scores of an unexpected numeric type', async () => {
  const { metadata } = await open((file) => setKey(file, 'tokenizer.ggml.scores', { type: 'array', of: 'u8', values: [1, 2] }))
  expect(metadata.numbers('tokenizer.ggml.scores')).toEqual(Uint8Array.of(1, 2))
})

test('A4 262,144 tokens with scores and types, and 514,000 merges', async () => {
  const count = 262_144
  const tokens = Array.from({ length: count }, (_, i) => `token ${i} ${'x'.repeat(i % 23)}`)
  const path = join(folder, 'large.gguf')
  writeFileSync(path, tinyGguf((file) => {
    setKey(file, 'tokenizer.ggml.tokens', { type: 'array', of: 'string', values: tokens })
    setKey(file, 'tokenizer.ggml.scores', { type: 'array', of: 'f32', values: new Float32Array(count).fill(-1) })
    setKey(file, 'tokenizer.ggml.token_type', { type: 'array', of: 'i32', values: new Int32Array(count).fill(1) })
    setKey(file, 'tokenizer.ggml.merges', { type: 'array', of: 'string', values: Array.from({ length: 514_000 }, (_, i) => `left${i} right${i}`) })
  }))
  const begin = performance.now()
  const { metadata } = await openGguf(path)
  const ms = performance.now() - begin
  console.log(`A4: opened in ${ms.toFixed(0)} ms`)
  expect(ms).toBeLessThan(2_000)
  expect(metadata.strings('tokenizer.ggml.tokens')!.text(count - 1)).toBe(tokens.at(-1))
  expect(metadata.strings('tokenizer.ggml.merges')!.text(513_999)).toBe('left513999 right513999')
  expect(metadata.numbers('tokenizer.ggml.scores')!.length).toBe(count)
})

test.each([1, 2, 64, 4096, 1 << 20])('A5 alignment %i', async (alignment) => {
  const reference = await open()
  const expected = await reference.readTensor('output_norm.weight')
  const model = await open((file) => {
    file.alignment = alignment
    setKey(file, 'general.alignment', { type: 'u32', value: alignment })
  })
  expect(model.files[0]!.dataOffset % alignment).toBe(0)
  expect(await model.readTensor('output_norm.weight')).toEqual(expected)
})

test('A6 bytes after the last tensor', async () => {
  expect((await open((file) => { file.tail = new Uint8Array(12_345) })).tensors.size).toBe(21)
})

test('A7 tensors not in file order, with gaps', async () => {
  const reference = await open()
  const bytesOf = (name: string): Promise<Uint8Array> => reference.readTensor(name)
  const [gate, up, norm] = await Promise.all(['blk.0.ffn_gate.weight', 'blk.0.ffn_up.weight', 'output_norm.weight'].map(bytesOf))
  const relative = (name: string): bigint => BigInt(reference.tensors.get(name)!.offset - reference.files[0]!.dataOffset)
  const model = await open((file) => {
    tensorOf(file, 'blk.0.ffn_gate.weight').offset = relative('blk.0.ffn_up.weight')
    tensorOf(file, 'blk.0.ffn_up.weight').offset = relative('blk.0.ffn_gate.weight')
    tensorOf(file, 'output_norm.weight').offset = relative('output_norm.weight') + BigInt(norm!.length + 1024)
    file.tail = Buffer.concat([new Uint8Array(1024), norm!])
  })
  expect(await model.readTensor('blk.0.ffn_gate.weight')).toEqual(up)
  expect(await model.readTensor('blk.0.ffn_up.weight')).toEqual(gate)
  expect(await model.readTensor('output_norm.weight')).toEqual(norm)
})

test('A8 unknown keys and unknown extra tensors', async () => {
  const { metadata, tensors } = await open((file) => {
    file.keys.push(tinyKey('vendor.secret.sauce', { type: 'array', of: 'f64', values: [1.5, Number.NaN] }))
    file.tensors.push(tinyTensor('v.blk.0.mystery.weight'))
  })
  expect(metadata.numbers('vendor.secret.sauce')).toEqual(Float64Array.of(1.5, Number.NaN))
  expect(tensors.has('v.blk.0.mystery.weight')).toBe(true)
})

test('A9 GGUF version 2', async () => {
  expect((await open((file) => { file.version = 2 })).version).toBe(2)
})

test.each(['string', 'u8', 'f32', 'bool'] as const)('A10 an empty array of %s is an empty array of anything', async (of) => {
  const { metadata } = await open((file) => setKey(file, 'tokenizer.ggml.merges', { type: 'array', of, values: [] }))
  expect(metadata.arrayInfo('tokenizer.ggml.merges')).toEqual({ type: of, length: 0 })
  expect(metadata.strings('tokenizer.ggml.merges')!.length).toBe(0)
  expect(metadata.numbers('tokenizer.ggml.merges')!.length).toBe(0)
  expect(metadata.booleans('tokenizer.ggml.merges')!.length).toBe(0)
})

test('A12 no chat template', async () => {
  const { metadata } = await open()
  expect(metadata.string('tokenizer.chat_template')).toBeUndefined()
})

test('a key of 65,535 bytes and names of 64', async () => {
  const { metadata, tensors } = await open((file) => {
    keyOf(file, 'general.name').key = 'k'.repeat(65_535)
    tensorOf(file, 'output.weight').name = 'n'.repeat(64)
  })
  expect(metadata.string('k'.repeat(65_535))).toBe('tiny')
  expect(tensors.has('n'.repeat(64))).toBe(true)
})
