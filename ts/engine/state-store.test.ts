// What could break: a state file that was cut, changed or made by somebody else is believed, throws, hangs, or is replaced by
// half of one. How we notice: every prefix and every changed byte of a real file, hostile headers, and files that are none.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { afterAll, beforeEach, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { stateBodyFault } from './state-body.js'
import { decodeState, encodeState, readState, stateFolder, writeState } from './state-store.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-state-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
beforeEach(() => {
  vi.stubEnv('HYPURA_STATE_DIR', folder)
})

interface Value {
  readonly name: string
  readonly numbers: Float32Array
}
const schema: z.ZodType<Value> = z.strictObject({ name: z.string(), numbers: z.instanceof(Float32Array) })
const value: Value = { name: 'größe', numbers: Float32Array.of(1, 2.5, -3) }
const read = (name: string): ReturnType<typeof readState<Value>> => readState(name, 'test', schema)

test('what is written is read back, typed arrays included, and nothing else is left in the folder', () => {
  expect(writeState('sub/one', 'test', value)).toBeUndefined()
  expect(writeState('sub/one', 'test', value)).toBeUndefined()
  expect(read('sub/one')).toEqual({ value, warning: undefined })
  expect(readdirSync(join(folder, 'sub'))).toEqual(['one'])
})

test('an absent file is nothing to speak of', () => expect(read('absent')).toEqual({ value: undefined, warning: undefined }))

test('every prefix and every changed byte is ignored with one sentence', () => {
  const bytes = encodeState('test', value)
  const path = join(folder, 'broken')
  for (let length = 0; length < bytes.length; length++) {
    writeFileSync(path, bytes.subarray(0, length))
    const found = read('broken')
    expect(found.value).toBeUndefined()
    expect(found.warning).toContain(path)
  }
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 0x40
    expect(() => decodeState(changed, 'test'), String(at)).toThrow(/./)
  }
  expect(() => decodeState(Buffer.concat([bytes, Buffer.of(0)]), 'test')).toThrow('length')
})

test('another format, another kind, huge lengths and other values are ignored', () => {
  const bytes = encodeState('test', value)
  const with32 = (at: number, word: number): Buffer => {
    const changed = Buffer.from(bytes)
    changed.writeUInt32LE(word, at)
    return changed
  }
  for (const [changed, why] of [[with32(0, 0), 'no state file'], [with32(4, 2), 'format 2'], [with32(8, 0xffffffff), 'length'], [with32(12, 0xffffffff), 'length'], [with32(16, 1), 'checksum']] as const) {
    writeFileSync(join(folder, 'hostile'), changed)
    expect(read('hostile').warning).toContain(why)
  }
  writeFileSync(join(folder, 'other'), encodeState('else', value))
  expect(read('other').warning).toContain('"else"')
  for (const wrong of [null, 7, [], { name: 1 }, { ...value, more: 1 }, { name: 'x', numbers: [1] }]) {
    writeState('values', 'test', wrong)
    expect(read('values')).toMatchObject({ value: undefined, warning: expect.stringContaining('values are not') })
  }
})

/** Header and checksum as they should be, around a body that no writer of ours makes. */
function framed(body: ArrayLike<number>): Buffer {
  const behind = Buffer.concat([Buffer.from('test'), Uint8Array.from(body)])
  const header = Buffer.alloc(24)
  for (const [i, word] of [0x54535948, 1, 4, body.length, crc32(behind)].entries()) header.writeUInt32LE(word, i * 4)
  return Buffer.concat([header, behind])
}

const array = [0xdd, 0x00, 0xff, 0xff, 0xff] // 16.7 million items, none of them there: 128 MiB, if anybody believed it
test.each([
  ['an array that is not there', array], ['64 of them in each other', Array.from({ length: 64 }, () => array).flat()], ['a map of 2^31', [0xdf, 0x80, 0, 0, 0]], ['a text of 4 GB', [0xdb, 0xff, 0xff, 0xff, 0xff]],
  ['lists in lists', Array.from({ length: 200_000 }, () => 0x91)], ['fewer lists in lists', Array.from({ length: 100_000 }, () => 0x91)], ['two values', [0x80, 0x80]], ['a record', [0x92, 0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1, 1]], ['an error', [0xc7, 2, 0x65, 0x91, 0xa1]], ['nothing', []],
  ['another prototype', [0x81, 0xa9, ...Buffer.from('__proto__'), 0x81, 0xa1, 0x61, 1]],
])('a well-framed body of %s is ignored, in little memory and time', (_, body) => {
  const peak = process.resourceUsage().maxRSS
  writeFileSync(join(folder, 'body'), framed(body))
  expect(read('body')).toMatchObject({ value: undefined, warning: expect.stringContaining('was ignored') })
  expect(({} as { a?: number }).a).toBeUndefined()
  expect(process.resourceUsage().maxRSS - peak, 'KiB').toBeLessThan(100 * 1024)
})

test.each([['maps', 0x80], ['lists', 0x90], ['nothings', 0xc0]])('a well-framed body of 16 million empty %s is ignored, in little memory', (_, empty) => {
  const body = new Uint8Array(16 * 2 ** 20).fill(empty)
  body.set([0xdd, 0x00, 0xff, 0xff, 0xfb])
  writeFileSync(join(folder, 'body'), framed(body))
  const peak = process.resourceUsage().maxRSS
  expect(read('body')).toMatchObject({ value: undefined, warning: expect.stringContaining('more than 131072 values') })
  expect(process.resourceUsage().maxRSS - peak, 'KiB').toBeLessThan(100 * 1024)
})

test('no body that is written is refused before it is decoded', () => {
  const number = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger(), fc.constantFrom(-33, -32, -1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32))
  const numbers = fc.oneof(fc.uint16Array({ maxLength: 300 }), fc.float32Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 20 }))
  const leaf = fc.oneof(number, fc.boolean(), fc.constant(null), fc.string({ maxLength: 300, unit: 'binary' }), numbers)
  const { body } = fc.letrec((tie) => ({
    body: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('body'), { maxLength: 20 }), fc.dictionary(fc.string(), tie('body'), { maxKeys: 20 })),
  }))
  fc.assert(fc.property(body, (written) => {
    expect(stateBodyFault(new Packr({ structuredClone: true, useRecords: false }).pack(written))).toBeUndefined()
  }), { numRuns: 300 })
  for (const length of [15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
    for (const written of [new Uint16Array(length), 'x'.repeat(length), Array.from({ length }, () => 1), Object.fromEntries(Array.from({ length: length % 60_000 }, (_, i) => [String(i), i]))]) {
      const file = encodeState('test', written)
      expect(decodeState(file, 'test')).toEqual(written)
      // Every part of it is counted: what ends early, or goes on, is no body.
      const packed = file.subarray(24 + 4)
      expect(stateBodyFault(packed.subarray(0, -1))).toMatch(/ends/)
      expect(stateBodyFault(Buffer.concat([packed, Buffer.of(0)]))).toMatch(/goes on/)
    }
  }
})

test('what a process left behind that died while writing stops nobody', () => {
  writeFileSync(join(folder, `kept.${process.pid}.tmp`), 'half')
  expect(writeState('kept', 'test', value)).toBeUndefined()
  expect(read('kept').value).toEqual(value)
})

test('what is no file, too large or out of reach costs a sentence and no time', () => {
  mkdirSync(join(folder, 'folder'))
  spawnSync('mkfifo', [join(folder, 'pipe')])
  symlinkSync('loop', join(folder, 'loop'))
  writeFileSync(join(folder, 'large'), '')
  truncateSync(join(folder, 'large'), 2 ** 32)
  for (const name of ['folder', 'pipe', 'loop', 'large']) expect(read(name), name).toMatchObject({ value: undefined, warning: expect.stringContaining(name) })
  vi.stubEnv('HYPURA_STATE_DIR', join(folder, 'sub/one/below'))
  expect(writeState('x', 'test', value)).toContain('could not be written')
})

test('the folder is the named one, none, or the user\'s', () => {
  expect(stateFolder({ HYPURA_STATE_DIR: '/a' })).toBe('/a')
  expect(stateFolder({ HYPURA_STATE_DIR: 'off', XDG_STATE_HOME: '/b' })).toBeUndefined()
  expect(stateFolder({ XDG_STATE_HOME: '/b' })).toBe('/b/hypura')
  for (const environment of [{}, { XDG_STATE_HOME: 'relative' }]) expect(stateFolder(environment)).toMatch(/\.local\/state\/hypura$/)
  vi.stubEnv('HYPURA_STATE_DIR', 'off')
  expect([writeState('x', 'test', value), read('x')]).toEqual([undefined, { value: undefined, warning: undefined }])
  expect(readFileSync(join(folder, 'sub/one')).length).toBeGreaterThan(24)
})
