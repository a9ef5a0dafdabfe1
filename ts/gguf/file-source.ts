/**
 * The parser's only door to the file system: one regular file, opened for positional reads.
 *
 * Opened with O_NONBLOCK and looked at before the first read, so that a FIFO cannot hang us and a device cannot feed us.
 * Symbolic links are followed: model caches are made of them.
 * Holds always: a read inside [0, sizeBytes) delivers every byte or throws; the descriptor is gone after close().
 */
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { HypuraError } from '../base/errors.js'
import { fileName, number, refuse } from './failure.js'

export interface FileFacts {
  readonly path: string
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
}

export interface FileSource extends FileFacts, AsyncDisposable {
  /** Fills all of `into` from `offset`. ERR_HYPURA_MODEL_CHANGED when the file became shorter, ERR_HYPURA_IO on errors. */
  read(into: Uint8Array, offset: number): Promise<void>
  close(): Promise<void>
}

/**
 * Opens a regular file.
 * @throws ERR_HYPURA_NOT_FOUND, ERR_HYPURA_NOT_GGUF (directory, device, FIFO, socket), ERR_HYPURA_IO (rights, link loop)
 */
export async function openFile(path: string): Promise<FileSource> {
  if (path.includes('\0')) {
    throw new HypuraError('ERR_HYPURA_NOT_FOUND', 'The path contains a NUL character, which no file has. Check the path.', { rule: 'F1', field: 'path' })
  }
  const handle = await openHandle(path)
  try {
    const stat = await handle.stat({ bigint: true })
    if (!stat.isFile()) throw notRegular(path, stat.isDirectory() ? 'directory' : stat.isFIFO() ? 'FIFO' : 'device')
    const facts: FileFacts = {
      path, sizeBytes: Number(stat.size), mtimeNs: stat.mtimeNs, inode: stat.ino, device: stat.dev,
    }
    return new OpenFile(handle, facts)
  } catch (error) {
    await handle.close()
    throw error
  }
}

class OpenFile implements FileSource {
  readonly path: string
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
  readonly #handle: FileHandle

  constructor(handle: FileHandle, facts: FileFacts) {
    this.#handle = handle
    this.path = facts.path
    this.sizeBytes = facts.sizeBytes
    this.mtimeNs = facts.mtimeNs
    this.inode = facts.inode
    this.device = facts.device
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    let done = 0
    while (done < into.length) {
      const at = offset + done
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, at).catch((error: unknown) => {
        throw ioError(this.path, at, into.length - done, error)
      })
      if (bytesRead === 0) throw shrunk(this, at)
      done += bytesRead
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** ERR_HYPURA_MODEL_CHANGED unless `now` is the same unmodified file as `then`. */
export function requireUnchanged(then: FileFacts, now: FileFacts): void {
  if (then.sizeBytes === now.sizeBytes && then.mtimeNs === now.mtimeNs && then.inode === now.inode && then.device === now.device) return
  throw new HypuraError(
    'ERR_HYPURA_MODEL_CHANGED',
    `${fileName(then.path)} was changed or replaced after it was opened (${number(then.sizeBytes)} bytes then, ${number(now.sizeBytes)} now). Load the model again.`,
    { rule: 'F4', path: then.path, field: 'file', found: now.sizeBytes, allowed: String(then.sizeBytes) },
  )
}

async function openHandle(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'unknown'
    const details = { rule: 'F1', field: 'path', path, errno }
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      throw new HypuraError('ERR_HYPURA_NOT_FOUND', `${path} does not exist (${errno}). Check the path.`, details, { cause: error })
    }
    if (errno === 'ENXIO') throw notRegular(path, 'socket or device', error)
    throw new HypuraError('ERR_HYPURA_IO', `${path} cannot be opened (${errno}). ${advice(errno)}`, details, { cause: error })
  }
}

function advice(errno: string): string {
  switch (errno) {
    case 'EACCES': case 'EPERM': return 'Give this user the right to read it.'
    case 'ELOOP': return 'Its symbolic links lead in a circle: repair them.'
    case 'EMFILE': case 'ENFILE': return 'Too many files are open: raise the limit (ulimit -n).'
    default: return 'Check the path and the drive.'
  }
}

function notRegular(path: string, kind: string, cause?: unknown): HypuraError {
  const fault = { path, rule: 'F1', field: 'file', found: kind, allowed: 'regular file' }
  const error = refuse('ERR_HYPURA_NOT_GGUF', fault, `this is a ${kind}, not a regular file.`,
    kind === 'directory' ? 'Give the .gguf file inside it.' : 'Give the path of a .gguf file.')
  if (cause !== undefined) error.cause = cause
  return error
}

function shrunk(file: FileFacts, at: number): HypuraError {
  return new HypuraError(
    'ERR_HYPURA_MODEL_CHANGED',
    `${fileName(file.path)} ended at byte ${number(at)}, although it had ${number(file.sizeBytes)} bytes when it was opened. Something shortens it: wait for that to end and load the model again.`,
    { rule: 'F4', path: file.path, field: 'file', offset: at, allowed: String(file.sizeBytes) },
  )
}

function ioError(path: string, at: number, bytes: number, cause: unknown): HypuraError {
  const errno = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  return new HypuraError(
    'ERR_HYPURA_IO',
    `${number(bytes)} bytes at ${number(at)} of ${fileName(path)} could not be read (${errno}). Check the drive: hypura doctor.`,
    { rule: 'F1', path, field: 'file', offset: at, errno }, { cause },
  )
}
