// What could break: names that mean something to JavaScript reach an object instead of a Map, integers beyond 2^53 are
// rounded, two names fall together when decoded. How we notice: the names are ordinary, the integers exact or refused.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openGguf } from '../../ts/gguf/parse.js'
import { refuseAll, temporaryFolder } from '../support/malformed.js'
import { setKey, tensorOf, tinyGguf, tinyKey, tinyTensor, type Patch } from '../support/tiny-gguf.js'

const folder = temporaryFolder()
const prototypeNames = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then']

async function open(patch: Patch): ReturnType<typeof openGguf> {
  const path = join(folder, 'model.gguf')
  writeFileSync(path, tinyGguf(patch))
  return openGguf(path)
}

describe('J1 names of the prototype are ordinary', () => {
  test.each(prototypeNames)('key %s', async (name) => {
    const { metadata } = await open((file) => { file.keys.push(tinyKey(name, { type: 'u32', value: 7 })) })
    expect(metadata.integer(name)).toBe(7)
    expect([...metadata.keys()].at(-1)).toBe(name)
  })
  test.each(prototypeNames)('missing key %s', async (name) => {
    const { metadata } = await open(() => {})
    expect([metadata.has(name), metadata.integer(name), metadata.preview(name), metadata.typeOf(name)]).toEqual([false, undefined, undefined, undefined])
  })
  test.each(prototypeNames)('tensor %s', async (name) => {
    const { tensors } = await open((file) => { file.tensors.push(tinyTensor(name)) })
    expect(tensors.get(name)).toMatchObject({ name, bytes: 32 })
  })
  test.each(prototypeNames)('architecture %s opens; the manifest does not know it', async (name) => {
    const { metadata } = await open((file) => setKey(file, 'general.architecture', { type: 'string', value: name }))
    expect(metadata.string('general.architecture')).toBe(name)
  })
  test.each(prototypeNames)('model %s', async (name) => {
    const { metadata } = await open((file) => setKey(file, 'general.name', { type: 'string', value: name }))
    expect(metadata.string('general.name')).toBe(name)
  })
  test('nothing was added to all objects', () => {
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})

describe('J2 integers above 2^53', () => {
  test.each([2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])('context_length %s is refused exactly', async (value) => {
    const key = 'llama.context_length'
    const { metadata } = await open((file) => setKey(file, key, { type: 'u64', value }))
    expect(() => metadata.integer(key, Number.MAX_SAFE_INTEGER)).toThrow(expect.objectContaining({ details: expect.objectContaining({ rule: 'P6', found: value }) }))
    expect(metadata.preview(key)).toBe(value)
  })
  test('2^53 - 1 is read', async () => {
    const { metadata } = await open((file) => setKey(file, 'x', { type: 'u64', value: 2n ** 53n - 1n }))
    expect(metadata.integer('x', Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER)
  })
  test('an array of u64 stays exact', async () => {
    const { metadata } = await open((file) => setKey(file, 'x', { type: 'array', of: 'u64', values: [2n ** 53n + 1n] }))
    expect(metadata.numbers('x')).toEqual(BigUint64Array.of(2n ** 53n + 1n))
  })
})

refuseAll('J2, J3', [
  {
    rule: 'J2', value: 'offsets that differ in the last bit', reports: 'S11',
    patch: (file) => { tensorOf(file, 'output.weight').offset = 2n ** 53n; tensorOf(file, 'output_norm.weight').offset = 2n ** 53n + 1n },
  },
  {
    rule: 'J3', value: 'keys of different invalid bytes', reports: 'K2',
    patch: (file) => { file.keys.push(tinyKey(Uint8Array.of(0xfe), { type: 'u8', value: 1 }), tinyKey(Uint8Array.of(0xff), { type: 'u8', value: 2 })) },
  },
  {
    rule: 'J3', value: 'tensors of different invalid bytes', reports: 'S1',
    patch: (file) => { file.tensors.push(tinyTensor(Uint8Array.of(0xfe)), tinyTensor(Uint8Array.of(0xff))) },
  },
])
