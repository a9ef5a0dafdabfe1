// What could break: a value is decoded differently from how it was written, a tensor's place is computed wrongly, or the
// result can be changed by its users. How we notice: an independent writer makes the files, and real files of others open.
import fc from 'fast-check'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { writeGguf, type GgufValue, type ScalarType } from '../../scripts/gguf-writer.js'
import { tinyGguf } from '../../test/support/tiny-gguf.js'
import { openGguf } from './parse.js'
import { quantTypes, removedQuantTypes } from './quant-types.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-gguf-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'model.gguf')
const named: readonly [string, GgufValue] = ['general.architecture', { type: 'string', value: 'llama' }]

describe('metadata', () => {
  const bits: Partial<Record<ScalarType, readonly [bigint, bigint]>> = {
    u8: [0n, 255n], i8: [-128n, 127n], u16: [0n, 65_535n], i16: [-32_768n, 32_767n], u32: [0n, 2n ** 32n - 1n],
    i32: [-(2n ** 31n), 2n ** 31n - 1n], u64: [0n, 2n ** 64n - 1n], i64: [-(2n ** 63n), 2n ** 63n - 1n],
  }
  const small = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value)

  test.each(Object.entries(bits))('%s: scalars and arrays come back as written', async (name, [min, max]) => {
    const type = name as ScalarType
    await fc.assert(fc.asyncProperty(fc.array(fc.bigInt({ min, max }), { minLength: 1, maxLength: 20 }), async (values) => {
      await writeGguf(path, { metadata: [named, ['one', { type, value: values[0]! }], ['all', { type: 'array', of: type, values }]], tensors: [] })
      const { metadata } = await openGguf(path)
      expect(metadata.preview('one')).toBe(small(values[0]!))
      expect(Array.from<number | bigint>(metadata.numbers('all')!).map(BigInt)).toEqual(values)
      expect(metadata.preview('all', 3)).toEqual(values.slice(0, 3).map(small))
      expect([metadata.typeOf('one'), metadata.typeOf('all'), metadata.arrayInfo('all')]).toEqual([type, 'array', { type, length: values.length }])
    }), { numRuns: 20 })
  })

  test('floats, also NaN and infinity', async () => {
    const values = [0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, -1e30]
    await writeGguf(path, { metadata: [named, ...values.map((value, i): [string, GgufValue] => [`f${i}`, { type: 'f32', value }]), ['d', { type: 'f64', value: Math.PI }], ['all', { type: 'array', of: 'f32', values }]], tensors: [] })
    const { metadata } = await openGguf(path)
    expect(values.map((_, i) => metadata.float(`f${i}`))).toEqual(values.map(Math.fround))
    expect(metadata.float('d')).toBe(Math.PI)
    expect(metadata.numbers('all')).toEqual(Float32Array.from(values))
  })

  test('strings and bools', async () => {
    const texts = fc.array(fc.string({ unit: 'binary', maxLength: 30 }), { maxLength: 30 })
    await fc.assert(fc.asyncProperty(texts, fc.array(fc.boolean()), async (strings, bools) => {
      await writeGguf(path, { metadata: [named, ['s', { type: 'string', value: strings.join('') }], ['ss', { type: 'array', of: 'string', values: strings }], ['bs', { type: 'array', of: 'bool', values: bools }], ['b', { type: 'bool', value: bools[0] ?? false }]], tensors: [] })
      const { metadata } = await openGguf(path)
      const read = metadata.strings('ss')!
      expect(metadata.string('s')).toBe(strings.join(''))
      expect(Array.from({ length: read.length }, (_, i) => read.text(i))).toEqual(strings)
      expect(Array.from({ length: read.length }, (_, i) => Buffer.from(read.bytes(i)).toString())).toEqual(strings)
      expect([...metadata.booleans('bs')!]).toEqual(bools.map(Number))
      expect(metadata.boolean('b')).toBe(bools[0] ?? false)
      expect([...metadata.keys()]).toEqual(['general.architecture', 's', 'ss', 'bs', 'b'])
    }), { numRuns: 30 })
  })

  test('a bool of 7 inside an array is refused when it is read', async () => {
    writeFileSync(path, tinyGguf((file) => { file.keys.push({ key: 'bs', type: 9, payload: Uint8Array.of(7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 7) }) }))
    const { metadata } = await openGguf(path)
    expect(() => metadata.booleans('bs')).toThrow(expect.objectContaining({ details: expect.objectContaining({ rule: 'K10', found: 7 }) }))
  })

  test('offsetOf points at the value in the file', async () => {
    writeFileSync(path, tinyGguf())
    const { metadata } = await openGguf(path)
    const bytes = readFileSync(path)
    expect(bytes.toString('latin1', metadata.offsetOf('general.name'), metadata.offsetOf('general.name')! + 4)).toBe('tiny')
    expect(bytes.readUInt32LE(metadata.offsetOf('llama.block_count'))).toBe(2)
  })

  test('long strings beyond the window are passed over and read back', async () => {
    const long = 'abcdefgh'.repeat(400_000)
    await writeGguf(path, { metadata: [named, ['a', { type: 'string', value: long }], ['b', { type: 'array', of: 'string', values: [long, 'x', long, ''] }], ['c', { type: 'u8', value: 9 }]], tensors: [] })
    const { metadata } = await openGguf(path)
    expect(metadata.string('a')).toBe(long)
    expect([metadata.strings('b')!.text(2) === long, metadata.strings('b')!.text(3), metadata.integer('c')]).toEqual([true, '', 9])
  })
})

describe('tensors', () => {
  test.each([...quantTypes])('type %i: bytes and places agree with the writer', async (type, { name, blockWeights, blockBytes }) => {
    const data = (blocks: number, fill: number): Uint8Array => new Uint8Array(blocks * blockBytes).fill(fill)
    await writeGguf(path, {
      metadata: [named],
      tensors: [
        { name: 'a', dims: [blockWeights, 3], type, chunks: () => [data(3, 1)] },
        { name: 'b', dims: [2 * blockWeights, 2, 2, 1], type, chunks: () => [data(3, 2), data(5, 2)] },
      ],
    })
    const model = await openGguf(path)
    expect(model.tensors.get('a')).toMatchObject({ dims: [blockWeights, 3], type, typeName: name, bytes: 3 * blockBytes, file: 0 })
    expect(await model.readTensor('a')).toEqual(data(3, 1))
    expect(await model.readTensor('b')).toEqual(data(8, 2))
    expect(model.tensorBytes).toBe(11 * blockBytes)
    expect(readFileSync(path).subarray(model.tensors.get('b')!.offset, model.tensors.get('b')!.offset + 8 * blockBytes)).toEqual(Buffer.from(data(8, 2)))
  })

  test('known and removed types are apart, blocks are at least 7.1 bits per 8 weights', () => {
    for (const id of removedQuantTypes.keys()) expect(quantTypes.has(id)).toBe(false)
    for (const { blockWeights, blockBytes } of quantTypes.values()) expect(blockWeights).toBeLessThanOrEqual(8 * blockBytes)
  })

  test('the result cannot be changed', async () => {
    writeFileSync(path, tinyGguf())
    const model = await openGguf(path)
    const tensor = model.tensors.get('output.weight')!
    for (const frozen of [model, model.metadata, model.tensors, model.files, model.files[0], tensor, tensor.dims]) expect(Object.isFrozen(frozen)).toBe(true)
    expect(model.tensors).not.toHaveProperty('set')
  })

  test('an unknown tensor is named, with the nearest known one', async () => {
    writeFileSync(path, tinyGguf())
    await expect((await openGguf(path)).readTensor('output.weigth')).rejects.toThrow(/output\.weight/)
  })
})

describe('real files', () => {
  const shared = process.env['HYPURA_SHARED'] ?? '../shared'
  const files = ['models', join(shared, 'models'), join(shared, 'vocab')].flatMap((where) =>
    existsSync(where) ? readdirSync(where).filter((file) => file.endsWith('.gguf')).map((file) => join(where, file)) : [])
  if (files.length === 0) test.skip(`no folder ${shared} and no models: set HYPURA_SHARED`)
  else {
    test.each(files)('%s', async (file) => {
      const begin = performance.now()
      const { metadata, tensors, files: [info], tensorBytes } = await openGguf(file)
      console.log(`${file}: ${tensors.size} tensors, ${tensorBytes} bytes, ${(performance.now() - begin).toFixed(1)} ms`)
      expect(metadata.string('general.architecture')).toMatch(/^\w+$/)
      expect(metadata.strings('tokenizer.ggml.tokens')!.length).toBeGreaterThan(0)
      for (const key of metadata.keys()) metadata.preview(key)
      expect(tensorBytes).toBeLessThanOrEqual(info!.sizeBytes)
    })
  }
})
