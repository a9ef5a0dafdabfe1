/** What a model is known by again: its headers and the sizes of its parts, wherever the files lie. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { HypuraError } from '../base/errors.js'
import type { GgufModel } from '../gguf/types.js'

/** Of a header that is hashed, at once. */
const hashBytes = 1 << 20

/** SHA-256 in hex. Errors: ERR_HYPURA_IO, ERR_HYPURA_MODEL_CHANGED. */
export async function modelIdentity({ files }: Pick<GgufModel, 'files'>): Promise<string> {
  const hash = createHash('sha256')
  for (const { path, dataOffset, sizeBytes } of files) {
    hash.update(`${sizeBytes}\n`)
    await using file = await openToRead(path)
    const buffer = new Uint8Array(hashBytes)
    for (let at = 0; at < dataOffset;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(hashBytes, dataOffset - at), at)
      if (bytesRead === 0) throw new HypuraError('ERR_HYPURA_MODEL_CHANGED', `${path} became shorter while it was read`, { path })
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
  }
  return hash.digest('hex')
}

export const openToRead = (path: string): ReturnType<typeof open> => open(path, 'r').catch((error: Error) => { throw unreadable(path, error) })

export const unreadable = (path: string, error: Error): HypuraError =>
  new HypuraError('ERR_HYPURA_IO', `${path} cannot be read: ${error.message}`, { path }, { cause: error })
