/**
 * Copies of a model on other drives: found, told apart, and put into the order of the Load message.
 *
 * Here only names, sizes and identities are looked at; the bytes are compared natively while loading.
 */
import { HypuraError } from '../base/errors.js'
import { type FileFacts, openFile } from '../gguf/file-source.js'
import { fellowPaths, missingPart } from '../gguf/split.js'
import { type Drive, driveOf } from '../machine/drive.js'
import { nativeLimits } from '../native/layout.gen.js'
import type { LoadFile } from './codec/load.js'
import type { ModelDescription } from './model-description.js'

export interface ModelCopies {
  /** As they were named: the model, then the mirrors that are used. */
  readonly paths: readonly string[]
  /** Every part of the first copy, then of the second, … */
  readonly files: readonly LoadFile[]
  /** Names of the drives; a file says which is its own by index. */
  readonly drives: readonly string[]
  readonly warnings: readonly string[]
}

/**
 * Errors: ERR_HYPURA_MIRROR_MISMATCH for another size or number of parts; ERR_HYPURA_NOT_FOUND, SHARD_MISSING, NOT_GGUF, IO.
 */
export async function findCopies({ path, gguf }: ModelDescription, mirrors: readonly string[] = []): Promise<ModelCopies> {
  const copies: { readonly path: string; readonly files: readonly FileFacts[] }[] = [{ path, files: gguf.files }]
  const warnings: string[] = []
  for (const mirror of mirrors) {
    const files = await mirrorFiles(mirror, gguf.files)
    const same = copies.find((copy) => copy.files.every((file, no) => isSame(file, files[no]!)))
    if (same === undefined) copies.push({ path: mirror, files })
    else warnings.push(`the mirror ${mirror} is the very file ${same.path} and adds nothing: left out`)
  }
  const drives = new DriveTable()
  const files = copies.flatMap((copy, number) => copy.files.map(({ path, sizeBytes, mtimeNs, inode, device }): LoadFile => ({
    path, sizeBytes, mtimeNs, inode, device, drive: copies.length === 1 ? 0 : drives.indexOf(path, device), verified: number === 0,
  })))
  copies.forEach(({ path }, number) => {
    const own = (copy: number): readonly LoadFile[] => files.slice(copy * gguf.files.length, (copy + 1) * gguf.files.length)
    const neighbour = copies.slice(0, number).find((_, other) => own(number).every(({ drive }, no) => own(other)[no]!.drive === drive))
    if (neighbour !== undefined) warnings.push(`the mirror ${path} is on the same drive as ${neighbour.path} (${drives.names[own(number)[0]!.drive!]!}): it makes nothing faster, and is read where the other fails`)
  })
  return { paths: copies.map((copy) => copy.path), files, drives: copies.length === 1 ? ['the drive'] : drives.names, warnings }
}

async function mirrorFiles(mirror: string, model: readonly FileFacts[]): Promise<FileFacts[]> {
  const paths = model.length === 1 ? [mirror] : fellowPaths(mirror, model.length)
  if (paths === undefined) {
    throw new HypuraError('ERR_HYPURA_MIRROR_MISMATCH',
      `The model has ${model.length} parts; the mirror ${mirror} does not have the name of one of so many. Give its first part, with the name that the model's first part ends in.`,
      { field: 'mirror', path: mirror, found: mirror, allowed: `...-00001-of-${String(model.length).padStart(5, '0')}.gguf` })
  }
  const files: FileFacts[] = []
  for (const [no, path] of paths.entries()) {
    const facts = await factsOf(path).catch((error: unknown) => {
      throw path === mirror ? error : missingPart(error, path, no, paths.length)
    })
    const own = model[no]!
    if (facts.sizeBytes !== own.sizeBytes) {
      throw new HypuraError('ERR_HYPURA_MIRROR_MISMATCH',
        `${path} is no copy of ${own.path}: it has ${facts.sizeBytes} bytes, not ${own.sizeBytes}. Copy the model again, or leave this mirror out.`,
        { field: 'mirror', path, offset: Math.min(facts.sizeBytes, own.sizeBytes), found: facts.sizeBytes, allowed: String(own.sizeBytes) })
    }
    files.push(facts)
  }
  return files
}

async function factsOf(file: string): Promise<FileFacts> {
  await using source = await openFile(file)
  const { path, sizeBytes, mtimeNs, inode, device } = source
  return { path, sizeBytes, mtimeNs, inode, device }
}

const isSame = (a: FileFacts, b: FileFacts): boolean => a.inode === b.inode && a.device === b.device

/** Numbers the drives in the order they are met. More than native counts apart share the last number. */
class DriveTable {
  readonly names: string[] = []
  readonly #numbers = new Map<string, number>()

  /** What the system does not explain, an overlay or a network, is told apart by its device number: st_dev of the file. */
  indexOf(path: string, device: bigint): number {
    const drive = driveOf(path)
    const key = drive.devices.length > 0 ? drive.name : String(device)
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const number = Math.min(this.names.length, nativeLimits.drivesMax - 1)
    this.#numbers.set(key, number)
    if (number === this.names.length) this.names.push(shownName(drive))
    return number
  }
}

const shownName = ({ name, devices, mountPoint }: Drive): string => (devices.length > 0 || mountPoint === undefined ? name : `${name} at ${mountPoint}`)
