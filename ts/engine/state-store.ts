/**
 * What hypura remembers between runs: one small file per thing, in $XDG_STATE_HOME/hypura or ~/.local/state/hypura.
 * HYPURA_STATE_DIR names another folder; "off" remembers nothing.
 *
 * State is a convenience, so reading it is never fatal: what cannot be trusted is as if it had never been written, with a
 * sentence. Files are read as a stranger's: a regular file of limited size, whose header, checksum, structure and schema all
 * agree. They appear whole or not at all (temporary file, rename). docs/formats/state.md has the bytes.
 */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { Packr } from 'msgpackr/pack'
import type { z } from 'zod'
import { HypuraError } from '../base/errors.js'
import { packedFault } from './packed-body.js'

/** What a file holds. Both numbers are stored on disk: append only, never renumber. */
export interface StateKind<T> {
  /** 1: a drive's profile. */
  readonly id: number
  /** Of the body; files of any other are ignored. */
  readonly version: number
  readonly schema: z.ZodType<T>
}

export interface StateFound<T> {
  readonly value: T | undefined
  /** Why a file that is there was ignored: a sentence for the user. */
  readonly warning: string | undefined
}

/** Stored on disk: the bytes "HYST". */
const magic = 0x54535948
const headerBytes = 48
const checksumAt = 16
/** Ours have a few kilobytes. */
const bodyBytesMax = 2 ** 20

/** Plain values and typed arrays. Without records: a decoder compiles those to code. */
const packr = new Packr({ useRecords: false, structuredClone: true, mapsAsObjects: true, int64AsType: 'number' })

/** Undefined: nothing is remembered. A relative $XDG_STATE_HOME is ignored, as its specification asks. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const own = env['HYPURA_STATE_DIR'] ?? ''
  if (own !== '') return own === 'off' ? undefined : resolve(own)
  const base = env['XDG_STATE_HOME'] ?? ''
  return join(isAbsolute(base) ? base : join(homedir(), '.local/state'), 'hypura')
}

/** Never throws. `name`: of the file, without a folder. */
export function readState<T>(kind: StateKind<T>, name: string, folder: string | undefined = stateFolder()): StateFound<T> {
  if (folder === undefined) return { value: undefined, warning: undefined }
  const path = join(folder, name)
  try {
    const bytes = readSmallFile(path)
    return { value: bytes === undefined ? undefined : decodeState(kind, bytes), warning: undefined }
  } catch (error) {
    return { value: undefined, warning: `${path} is ignored: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/**
 * Replaces the file, or leaves it as it was. Returns its path; undefined when nothing is to be remembered.
 *
 * Errors: ERR_HYPURA_IO.
 */
export function writeState<T>(kind: StateKind<T>, name: string, value: T, folder: string | undefined = stateFolder()): string | undefined {
  if (folder === undefined) return undefined
  const path = join(folder, name)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const handle = openSync(temporary, 'wx', 0o600)
    try {
      const bytes = encodeState(kind, value)
      for (let at = 0; at < bytes.length;) at += writeSync(handle, bytes, at)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    renameSync(temporary, path)
    return path
  } catch (error) {
    removeLeftover(temporary)
    throw new HypuraError('ERR_HYPURA_IO', `${path} could not be written (${(error as Error).message}). HYPURA_STATE_DIR names another folder, "off" none`, { path }, { cause: error })
  }
}

export function encodeState<T>({ id, version, schema }: StateKind<T>, value: T): Buffer {
  const body = packr.pack(schema.parse(value))
  const bytes = Buffer.alloc(headerBytes + body.length)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt32LE(id, 4)
  bytes.writeUInt32LE(version, 8)
  bytes.writeUInt32LE(body.length, 12)
  body.copy(bytes, headerBytes)
  checksum(bytes).copy(bytes, checksumAt)
  return bytes
}

/** Throws an Error whose message ends the sentence "FILE is ignored: …". */
export function decodeState<T>({ id, version, schema }: StateKind<T>, bytes: Buffer): T {
  if (bytes.length < headerBytes) throw new Error(`it has ${bytes.length} bytes, a header has ${headerBytes}`)
  if (bytes.readUInt32LE(0) !== magic) throw new Error('it does not begin as a state file of hypura')
  if (bytes.readUInt32LE(4) !== id) throw new Error(`it holds state of kind ${bytes.readUInt32LE(4)}, not ${id}`)
  if (bytes.readUInt32LE(8) !== version) throw new Error(`it has version ${bytes.readUInt32LE(8)}, this program knows ${version}`)
  const length = bytes.readUInt32LE(12)
  if (length !== bytes.length - headerBytes) throw new Error(`its header promises ${length} bytes, ${bytes.length - headerBytes} are there`)
  if (!checksum(bytes).equals(bytes.subarray(checksumAt, headerBytes))) throw new Error('its checksum is wrong')
  const body = bytes.subarray(headerBytes)
  const fault = packedFault(body)
  if (fault !== undefined) throw new Error(fault)
  const result = schema.safeParse(packr.unpack(body))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Error(`${issue!.path.length === 0 ? 'its value' : issue!.path.join('.')}: ${issue!.message}`)
}

/** Of everything but itself. */
function checksum(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes.subarray(0, checksumAt)).update(bytes.subarray(headerBytes)).digest()
}

function removeLeftover(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // the folder is no folder: there is nothing to remove, and the first error says why
  }
}

/** Undefined when there is none. A pipe or a device in its place is refused, not waited for. */
function readSmallFile(path: string): Buffer | undefined {
  let handle: number
  try {
    handle = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
  try {
    const stats = fstatSync(handle)
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > headerBytes + bodyBytesMax) throw new Error(`it has ${stats.size} bytes, at most ${headerBytes + bodyBytesMax} are read`)
    const bytes = Buffer.alloc(stats.size)
    let count = 0
    for (let got = -1; got !== 0 && count < bytes.length; count += got) got = readSync(handle, bytes, count, bytes.length - count, count)
    return bytes.subarray(0, count)
  } finally {
    closeSync(handle)
  }
}
