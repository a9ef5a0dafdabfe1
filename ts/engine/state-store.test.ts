// What could break: a state file that was cut, changed or made by somebody else is believed, throws, hangs, or is replaced by
// half of one. How we notice: every prefix and every changed byte of a real file, hostile headers, and files that are none.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test, vi } from 'vitest'
import { z } from 'zod'
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
