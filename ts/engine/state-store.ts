/**
 * Where hypura keeps what it learnt (profiles of drives): small files of our own under the user's state folder.
 *
 * HYPURA_STATE_DIR names another folder, or 'off' for none; else $XDG_STATE_HOME/hypura, else ~/.local/state/hypura. A file is a
 * header of 24 bytes (magic "HYST", format, kind's length, body's length, CRC-32 of all behind the header) with the kind's name
 * and a msgpack body behind it. It is written beside its place and renamed, so that nobody reads half of one. What is read back
 * is a stranger's: size, header, checksum, number of values and, by the caller's schema, every value are checked. A file that fails is as good as
 * absent, with one sentence about it; state may cost a better guess, never a run.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import type { z } from 'zod'
import { stateBodyFault } from './state-body.js'

/** Stored on disk: append only, never renumber. */
const magic = 0x54535948 // "HYST"
const format = 1
const headerBytes = 24
const kindBytesMax = 64
/** Far above any profile; a larger file is not ours. */
const bodyBytesMax: number = 16 * 2 ** 20

const packr = new Packr({ structuredClone: true, useRecords: false })

export interface StateFile<T> {
  readonly value: T | undefined
  /** Why there is no value although there is a file; undefined otherwise. */
  readonly warning: string | undefined
}

/** Undefined when state is switched off, or no folder can be told. */
export function stateFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string | undefined {
  const named = environment['HYPURA_STATE_DIR'] ?? ''
  if (named === 'off') return undefined
  if (named !== '') return named
  const xdg = environment['XDG_STATE_HOME'] ?? ''
  if (xdg.startsWith('/')) return join(xdg, 'hypura') // the specification has relative ones ignored
  const home = homedir()
  return home === '' ? undefined : join(home, '.local/state/hypura')
}

/** Never throws. @param name of the file in the state folder, as the caller made it: no separators from outside */
export function readState<T>(name: string, kind: string, schema: z.ZodType<T>): StateFile<T> {
  const folder = stateFolder()
  if (folder === undefined) return { value: undefined, warning: undefined }
  const path = join(folder, name)
  try {
    const bytes = readWhole(path)
    return bytes === undefined ? { value: undefined, warning: undefined } : { value: schema.parse(decodeState(bytes, kind)), warning: undefined }
  } catch (error) {
    const why = error instanceof Error && error.name !== 'ZodError' ? error.message : 'its values are not what was written'
    return { value: undefined, warning: `${path} was ignored: ${why}. It is made anew; delete it to be rid of this sentence.` }
  }
}

/** Returns why it could not be written; undefined when it was, or when state is switched off. Never throws. */
export function writeState(name: string, kind: string, value: unknown): string | undefined {
  const folder = stateFolder()
  if (folder === undefined) return undefined
  const path = join(folder, name)
  // Not by process number: programs in two containers have the same and share a home.
  const beside = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const fd = openSync(beside, 'wx', 0o600)
    try {
      const bytes = encodeState(kind, value)
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(beside, path)
    return undefined
  } catch (error) {
    try {
      rmSync(beside, { force: true })
    } catch {
      // there is no folder that it could lie in
    }
    return `${path} could not be written: ${(error as Error).message}`
  }
}

export function encodeState(kind: string, value: unknown): Buffer {
  const name = Buffer.from(kind, 'utf8')
  const body = packr.pack(value)
  const behind = Buffer.concat([name, body])
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(format, 4)
  header.writeUInt32LE(name.length, 8)
  header.writeUInt32LE(body.length, 12)
  header.writeUInt32LE(crc32(behind), 16)
  return Buffer.concat([header, behind])
}

/** The body. Errors: plain ones with the sentence for a warning. */
export function decodeState(bytes: Uint8Array, kind: string): unknown {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (file.length < headerBytes || file.readUInt32LE(0) !== magic) throw new Error('it is no state file of hypura')
  if (file.readUInt32LE(4) !== format) throw new Error(`it has format ${file.readUInt32LE(4)}, this version reads ${format}`)
  const kindBytes = file.readUInt32LE(8)
  const bodyBytes = file.readUInt32LE(12)
  if (kindBytes > kindBytesMax || bodyBytes > bodyBytesMax || headerBytes + kindBytes + bodyBytes !== file.length || file.readUInt32LE(20) !== 0) throw new Error('its length is not what its header says')
  const behind = file.subarray(headerBytes)
  if (crc32(behind) !== file.readUInt32LE(16)) throw new Error('its checksum is wrong')
  const found = behind.subarray(0, kindBytes).toString('utf8')
  if (found !== kind) throw new Error(`it holds ${JSON.stringify(found)}, not ${JSON.stringify(kind)}`)
  const body = behind.subarray(kindBytes)
  const fault = stateBodyFault(body)
  if (fault !== undefined) throw new Error(fault)
  return packr.unpack(body) as unknown
}

/** Undefined for an absent file. */
function readWhole(path: string): Uint8Array | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) // a pipe there would wait for a writer
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const facts = fstatSync(fd)
    if (!facts.isFile()) throw new Error('it is no regular file')
    const { size } = facts
    if (size > headerBytes + kindBytesMax + bodyBytesMax) throw new Error(`it has ${size} bytes, more than any state file`)
    const bytes = Buffer.alloc(size)
    for (let at = 0; at < size;) {
      const got = readSync(fd, bytes, at, size - at, at)
      if (got === 0) throw new Error('it became shorter while it was read')
      at += got
    }
    return bytes
  } finally {
    closeSync(fd)
  }
}
