// What could break: a state file that was cut, altered, swapped or made by a stranger is believed, takes the memory of the
// machine, or ends the program; a write that fails leaves half a file.
// How we notice: every prefix, every bit and every field of a valid file, and bodies that only a stranger would write.
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Packr } from 'msgpackr/pack'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { packedFault } from './packed-body.js'
import { decodeState, encodeState, readState, type StateKind, stateFolder, writeState } from './state-store.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-state-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Sample {
  readonly name: string
  readonly rows: readonly { readonly speed: number; readonly direct: boolean }[]
  readonly counts: Float64Array
}
const kind: StateKind<Sample> = {
  id: 900,
  version: 3,
  schema: z.strictObject({
    name: z.string(),
    rows: z.array(z.strictObject({ speed: z.number(), direct: z.boolean() })),
    counts: z.instanceof(Float64Array),
  }),
}
const sample: Sample = { name: 'größe 模型', rows: [{ speed: 2.5e9, direct: true }, { speed: 17, direct: false }], counts: Float64Array.of(0.1, -Infinity, 3) }

/** Header and checksum as they should be, around any body. */
function framed(body: Uint8Array, change: (header: Buffer) => void = () => undefined): Buffer {
  const header = Buffer.alloc(16)
  header.writeUInt32LE(0x54535948, 0)
  header.writeUInt32LE(900, 4)
  header.writeUInt32LE(3, 8)
  header.writeUInt32LE(body.length, 12)
  change(header)
  return Buffer.concat([header, createHash('sha256').update(header).update(body).digest(), body])
}
const packed = (value: unknown): Buffer => new Packr({ useRecords: false }).pack(value)

describe('a file that is as it was written', () => {
  test('gives back the value, typed arrays included, and is replaced whole', () => {
    const path = writeState(kind, 'one', sample, folder)
    expect(path).toBe(join(folder, 'one'))
    expect(readState(kind, 'one', folder)).toEqual({ value: sample, warning: undefined })
    writeState(kind, 'one', { ...sample, name: 'next' }, folder)
    expect(readState(kind, 'one', folder).value!.name).toBe('next')
    expect(readdirSync(folder)).toEqual(['one'])
  })
  test('a second implementation of the frame agrees', () => {
    const bytes = encodeState(kind, sample)
    expect(framed(bytes.subarray(48))).toEqual(bytes)
  })
  test.each([1, 2, 3, 4, 8, 16, 17, 300, 70_000])('typed arrays of %i bytes pass the check of lengths', (length) => {
    const of: StateKind<Uint8Array> = { id: 1, version: 1, schema: z.instanceof(Uint8Array) }
    const counts: StateKind<Float32Array> = { id: 1, version: 1, schema: z.instanceof(Float32Array) }
    expect(new Uint8Array(decodeState(of, encodeState(of, new Uint8Array(length).fill(7))))).toEqual(new Uint8Array(length).fill(7))
    expect(decodeState(counts, encodeState(counts, new Float32Array(length).fill(0.5)))).toEqual(new Float32Array(length).fill(0.5))
  })
})

describe('a file that is not', () => {
  const whole = encodeState(kind, sample)
  const ignored = (bytes: Uint8Array, reason: RegExp): void => {
    writeFileSync(join(folder, 'bad'), bytes)
    const { value, warning } = readState(kind, 'bad', folder)
    expect(value).toBeUndefined()
    expect(warning).toMatch(reason)
    expect(warning!.startsWith(`${join(folder, 'bad')} is ignored: `)).toBe(true)
  }

  test('cut at every byte, or with one more', () => {
    for (let length = 0; length < whole.length; length++) ignored(whole.subarray(0, length), /header|promises/)
    ignored(Buffer.concat([whole, Buffer.alloc(1)]), /promises/)
  })
  test('with any bit flipped', () => {
    for (let at = 0; at < whole.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const bytes = Buffer.from(whole)
        bytes[at]! ^= 1 << bit
        expect(() => decodeState(kind, bytes), `byte ${at} bit ${bit}`).toThrow()
      }
    }
  })
  test.each([
    ['magic', 0, 0x46554747, /does not begin/], ['kind', 4, 901, /kind 901, not 900/], ['next version', 8, 4, /version 4, this program knows 3/],
    ['version before', 8, 2, /version 2/], ['huge length', 12, 0xffffffff, /promises 4294967295 bytes/],
  ] as const)('with another %s, although the checksum is right', (_, at, value, reason) => {
    ignored(framed(whole.subarray(48), (header) => void header.writeUInt32LE(value, at)), reason)
  })
  test('with another checksum', () => {
    const bytes = Buffer.from(whole)
    bytes.fill(0, 16, 48)
    ignored(bytes, /checksum/)
  })
  test.each([
    ['a number', 5], ['null', null], ['a list', []], ['a field too few', { name: 'x', rows: [] }], ['a field too many', { ...sample, more: 1 }],
    ['a text for a number', { ...sample, rows: [{ speed: '1', direct: true }] }], ['NaN', { ...sample, rows: [{ speed: NaN, direct: true }] }],
    ['a plain list for a typed one', { ...sample, counts: [1] }],
  ])('whose value is %s', (_, value) => ignored(framed(packed(value)), /\w/))

  test.each([
    ['an array of 2^32 - 1', [0xdd, 0xff, 0xff, 0xff, 0xff], /longer than the body/], ['a map of 2^31', [0xdf, 0x80, 0, 0, 0], /longer than the body/],
    ['a text of 4 GB', [0xdb, 0xff, 0xff, 0xff, 0xff, 0x41], /longer than the body/], ['arrays in arrays', Array.from({ length: 100_000 }, () => 0x91), /deeper than 16/],
    ['an error', [0xd4, 0x65, 0], /type that does not belong/], ['a regular expression', [0xc7, 2, 0x78, 0x61, 0x62], /does not belong/], ['a record', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1], /does not belong/],
    ['a time', [0xd6, 0xff, 0, 0, 0, 0], /does not belong/], ['the type nobody has', [0xc1], /does not belong/], ['two values', [1, 2], /1 bytes follow/], ['nothing', [], /cut/],
  ] as const)('whose body is %s', (_, body, reason) => ignored(framed(Uint8Array.from(body)), reason))

  test('a body that asks for another prototype gets none', () => {
    const body = Buffer.concat([Uint8Array.of(0x81, 0xa9), Buffer.from('__proto__'), packed({ polluted: true })])
    ignored(framed(body), /\w/)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
  test('too large, a folder, a pipe, a link to nowhere, a file that may not be read', () => {
    writeFileSync(join(folder, 'large'), '')
    truncateSync(join(folder, 'large'), 2 ** 40)
    expect(readState(kind, 'large', folder).warning).toMatch(/at most/)
    mkdirSync(join(folder, 'folder'))
    expect(readState(kind, 'folder', folder).warning).toMatch(/no regular file/)
    execFileSync('mkfifo', [join(folder, 'pipe')])
    expect(readState(kind, 'pipe', folder).warning).toMatch(/no regular file/)
    symlinkSync('/nowhere/at/all', join(folder, 'link'))
    expect(readState(kind, 'link', folder)).toEqual({ value: undefined, warning: undefined })
    writeFileSync(join(folder, 'secret'), whole)
    chmodSync(join(folder, 'secret'), 0)
    if (process.getuid?.() !== 0) expect(readState(kind, 'secret', folder).warning).toMatch(/EACCES/)
  })
})

test('every prefix and random mutations of a body are judged without decoding, and what passes decodes in bounds', () => {
  const body = encodeState(kind, sample).subarray(48)
  for (let length = 0; length < body.length; length++) expect(packedFault(body.subarray(0, length)), String(length)).toBeDefined()
  let state = 12345
  const random = (n: number): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n
  for (let i = 0; i < 4000; i++) {
    const bytes = Buffer.from(body)
    for (let k = 0; k <= random(3); k++) bytes[random(bytes.length)] = random(256)
    try {
      decodeState(kind, framed(bytes))
    } catch (error) {
      expect(error).toBeInstanceOf(Error) // and never a crash, a hang or gigabytes
    }
  }
})

describe('writing', () => {
  test('makes the folder, for this user alone', () => {
    const deep = join(folder, 'a/b/c')
    writeState(kind, 'x', sample, deep)
    expect(readState(kind, 'x', deep).value).toEqual(sample)
  })
  test('what cannot be written is a typed error and leaves nothing behind', () => {
    const file = join(folder, 'file')
    writeFileSync(file, 'not a folder')
    expect(() => writeState(kind, 'x', sample, join(file, 'sub'))).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_IO' }))
    const blocked = join(folder, 'blocked')
    mkdirSync(join(blocked, 'x', 'occupied'), { recursive: true })
    expect(() => writeState(kind, 'x', sample, blocked)).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_IO' }))
    expect(readdirSync(blocked)).toEqual(['x'])
    expect(readFileSync(file, 'utf8')).toBe('not a folder')
  })
})

test('the folder: our variable, the standard one if absolute, the default; "off" is none, and then nothing is read or written', () => {
  expect(stateFolder({ HYPURA_STATE_DIR: '/x', XDG_STATE_HOME: '/y' })).toBe('/x')
  expect(stateFolder({ XDG_STATE_HOME: '/y' })).toBe('/y/hypura')
  for (const env of [{}, { XDG_STATE_HOME: 'relative' }, { HYPURA_STATE_DIR: '', XDG_STATE_HOME: '' }]) expect(stateFolder(env)).toBe(join(homedir(), '.local/state/hypura'))
  expect(stateFolder({ HYPURA_STATE_DIR: 'off' })).toBeUndefined()
  expect(process.env['HYPURA_STATE_DIR'], 'tests leave the state of this user alone').toBe('off')
  expect(writeState(kind, 'x', sample)).toBeUndefined()
  expect(readState(kind, 'x')).toEqual({ value: undefined, warning: undefined })
})
