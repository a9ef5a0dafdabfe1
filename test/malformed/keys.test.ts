// What could break: lengths and types of metadata are trusted before the bytes are known to exist, or a name smuggles
// something in. How we notice: each file must be refused with the rule of its class, in time, with nothing left open.
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openGguf } from '../../ts/gguf/parse.js'
import { cpuMs, expectRefused, msMax, refuseAll, temporaryFolder, type MalformedCase } from '../support/malformed.js'
import { keyOf, setKey, tinyGguf, tinyKey, type TinyFile } from '../support/tiny-gguf.js'

const huge = [['2^64 - 1', 2n ** 64n - 1n], ['2^63', 2n ** 63n]] as const
const sixteen = new Uint8Array(16)

function le(...parts: readonly (readonly [bytes: 4 | 8, value: bigint])[]): Uint8Array {
  const out = Buffer.alloc(parts.reduce((sum, [bytes]) => sum + bytes, 0))
  let at = 0
  for (const [bytes, value] of parts) {
    for (let i = 0; i < bytes; i++) out[at++] = Number((BigInt.asUintN(64, value) >> BigInt(8 * i)) & 255n)
  }
  return out
}

/** A key in front of all others, of a raw type and payload. */
function first(type: number, payload: Uint8Array): (file: TinyFile) => void {
  return (file) => { file.keys.unshift({ key: 'x.y', type, payload }) }
}

/** Payload of an array: element type and count, then some bytes. */
function array(type: number, count: bigint, bytes: Uint8Array = sixteen): Uint8Array {
  return Buffer.concat([le([4, BigInt(type)], [8, count]), bytes])
}

const badNames: readonly (readonly [string, Uint8Array])[] = [
  ['a NUL inside', Buffer.from('general\0name')],
  ['a lone continuation byte', Buffer.from([0x61, 0x80, 0x62])],
  ['an overlong slash', Buffer.from([0xc0, 0xaf])],
  ['half a surrogate pair', Buffer.from([0xed, 0xa0, 0x80])],
  ['0xFF', Buffer.from([0xff])],
]

const cases: MalformedCase[] = [
  ...huge.map(([value, bytes]): MalformedCase => ({ rule: 'K1', value, patch: (file) => { file.keys[0]!.keyBytes = bytes } })),
  { rule: 'K1', value: 'remaining + 1', patch: (file) => { file.keys[0]!.keyBytes = BigInt(tinyGguf().length - 32 + 1) } },
  { rule: 'K1', value: '65,536', patch: (file) => { file.keys[0]!.key = 'k'.repeat(65_536) } },
  { rule: 'K1', value: '0', patch: (file) => { file.keys[0]!.key = '' } },
  ...badNames.map(([value, key]): MalformedCase => ({ rule: 'K2', value, patch: (file) => { file.keys[1]!.key = key } })),
  { rule: 'K3', value: 'same key twice', patch: (file) => { file.keys.push(keyOf(file, 'llama.block_count')) } },
  { rule: 'K3', value: 'same key twice, the second of another type', patch: (file) => { file.keys.push(tinyKey('llama.block_count', { type: 'string', value: '2' })) } },
  ...[13, -1, 0x7fff_ffff].map((type): MalformedCase => ({ rule: 'K4', value: `type ${type}`, patch: (file) => { file.keys[2]!.type = type } })),
  ...huge.map(([value, bytes]): MalformedCase => ({ rule: 'K5', value, patch: first(8, Buffer.concat([le([8, bytes]), sixteen])) })),
  { rule: 'K5', value: 'remaining + 1', patch: first(8, Buffer.concat([le([8, 14_000n]), sixteen])) },
  { rule: 'K5', value: '16 MiB + 1, all there', bytes: () => tinyGguf(first(8, Buffer.concat([le([8, (16n << 20n) + 1n]), Buffer.alloc((16 << 20) + 1)]))) },
  { rule: 'K5', value: 'inside an array of strings', patch: first(9, array(8, 2n, Buffer.concat([le([8, 3n]), Buffer.from('abc'), le([8, 2n ** 63n])]))) },
  { rule: 'K6', value: '2^61 of u64', patch: first(9, array(10, 2n ** 61n)) },
  { rule: 'K6', value: 'more u8 than bytes remain', patch: first(9, array(0, 15_000n)) },
  { rule: 'K6', value: 'more f64 than bytes remain', patch: first(9, array(12, 2_000n)) },
  { rule: 'K6', value: '2^40 bools', patch: first(9, array(7, 2n ** 40n)) },
  { rule: 'K6', value: '16 Mi + 1 elements, all there', bytes: () => tinyGguf(first(9, array(0, (16n << 20n) + 1n, Buffer.alloc((16 << 20) + 1)))) },
  { rule: 'K7', value: '2^58 strings', patch: first(9, array(8, 2n ** 58n)) },
  { rule: 'K7', value: 'more strings than bytes remain', patch: first(9, array(8, 2_000n)) },
  { rule: 'K8', value: 'array of arrays', patch: first(9, array(9, 2n, Buffer.concat([array(4, 1n, le([4, 1n])), array(4, 1n, le([4, 2n]))]))) },
  {
    rule: 'K8', value: '10,000 levels',
    patch: first(9, Buffer.concat([...Array.from({ length: 10_000 }, () => array(9, 1n, new Uint8Array(0))), array(0, 1n, new Uint8Array(1))])),
  },
  ...[13, 255].map((type): MalformedCase => ({ rule: 'K9', value: `element type ${type}`, patch: first(9, array(type, 1n)) })),
  { rule: 'K10', value: 'bool 7', patch: (file) => { keyOf(file, 'tokenizer.ggml.add_bos_token').payload = Uint8Array.of(7) } },
  ...[0, 3, 13, 2 ** 31, 2 ** 32 - 1, 2 ** 21].map((value): MalformedCase => ({
    rule: 'K12', value: `alignment ${value}`, patch: (file) => { setKey(file, 'general.alignment', { type: 'u32', value }) },
  })),
  ...(['i32', 'u64', 'f32'] as const).map((type): MalformedCase => ({
    rule: 'K12', value: `typed ${type}`, patch: (file) => { setKey(file, 'general.alignment', { type, value: 32 }) },
  })),
  { rule: 'K12', value: 'typed string', patch: (file) => { setKey(file, 'general.alignment', { type: 'string', value: '32' }) } },
  { rule: 'K12', value: 'typed array', patch: (file) => { setKey(file, 'general.alignment', { type: 'array', of: 'u32', values: [32] }) } },
  { rule: 'K13', value: 'missing', patch: (file) => { file.keys.shift() }, says: 'missing' },
  { rule: 'K13', value: 'u32', patch: (file) => { setKey(file, 'general.architecture', { type: 'u32', value: 7 }) } },
  { rule: 'K13', value: 'array', patch: (file) => { setKey(file, 'general.architecture', { type: 'array', of: 'string', values: ['llama'] }) } },
  ...['../../x', '', 'a b', 'llama\0', '\u001b[31mllama', 'l'.repeat(65)].map((value): MalformedCase => ({
    rule: 'K13', value: JSON.stringify(value).slice(0, 20), patch: (file) => { setKey(file, 'general.architecture', { type: 'string', value }) },
  })),
  { rule: 'K13', value: '10 MB', bytes: () => tinyGguf((file) => setKey(file, 'general.architecture', { type: 'string', value: 'x'.repeat(10_000_000) })) },
]

refuseAll('keys and values', cases)

const folder = temporaryFolder()

test('K14 257 MiB of legal keys in a sparse file', async () => {
  const path = join(folder, 'k14.gguf')
  const fd = openSync(path, 'w')
  let at = writeSync(fd, Buffer.concat([Buffer.from('GGUF'), le([4, 3n], [8, 0n], [8, 17n])]), 0)
  for (let i = 0; i < 17; i++) {
    at += writeSync(fd, Buffer.concat([le([8, 3n]), Buffer.from(`k${String(i).padStart(2, '0')}`), le([4, 8n], [8, 16n << 20n])]), 0, 23, at)
    at += 16 << 20
  }
  ftruncateSync(fd, at)
  closeSync(fd)
  await expectRefused(path, { rule: 'K14' })
})

// Bounds of CPU time that a quadratic step would pass many times over; a busy machine's slower core must not.
const linearMsMax = 4 * msMax

test('K11 65,000 keys open in linear time', async () => {
  const keys = Array.from({ length: 65_000 }, (_, i) => tinyKey(`key.${i}`, { type: 'u32', value: i }))
  const path = join(folder, 'keys.gguf')
  writeFileSync(path, tinyGguf((file) => { file.keys = file.keys.concat(keys) }))
  const begin = cpuMs()
  expect((await openGguf(path)).metadata.integer('key.64999')).toBe(64_999)
  expect(cpuMs() - begin).toBeLessThan(linearMsMax)
})

test('K11 200,000 tensor names open in linear time', async () => {
  const names = Array.from({ length: 200_000 }, (_, i) => ({ name: `tensor.${i}`, dims: [0n], type: 0, data: new Uint8Array(0) }))
  const path = join(folder, 'names.gguf')
  writeFileSync(path, tinyGguf((file) => { file.tensors = file.tensors.concat(names) }))
  const begin = cpuMs()
  expect((await openGguf(path)).tensors.has('tensor.199999')).toBe(true)
  expect(cpuMs() - begin).toBeLessThan(linearMsMax)
})
