/** What became of the copies of a model: how much each has given, and a sentence for each that is not what it was. */
import { basename } from 'node:path'
import { constants } from 'node:os'
import { copyIndex, copyState } from '../native/layout.gen.js'
import type { NativeEngine } from '../native/native-binding.js'
import type { ModelCopies } from './model-copies.js'

export interface CopyShare {
  readonly path: string
  /** Name of the drive that its first file is on. */
  readonly drive: string
  /** What reads of this copy have delivered since load. */
  readonly bytes: number
  /** Of what all copies have delivered; 0 while nothing was read. */
  readonly share: number
  /** As measured when the copies were compared; 0: not known. */
  readonly driveBytesPerSecond: number
  /** Failing: asked only where no healthy copy is left. Dropped: changed or cut, never read again. */
  readonly state: keyof typeof copyState
  /** Reads it did not give. */
  readonly failures: number
}

const fields = Object.keys(copyIndex).length
const errnoNames: ReadonlyMap<number, string> = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]))

export class CopyReports {
  readonly #engine: NativeEngine
  readonly #copies: ModelCopies
  readonly #driveBytesPerSecond: readonly number[]
  readonly #row: Float64Array
  readonly #warnings = new Map<string, string>()

  constructor(engine: NativeEngine, copies: ModelCopies, driveBytesPerSecond: readonly number[]) {
    this.#engine = engine
    this.#copies = copies
    this.#driveBytesPerSecond = driveBytesPerSecond
    this.#row = new Float64Array(copies.paths.length * fields)
  }

  shares(): readonly CopyShare[] {
    this.#refresh()
    const { paths, files, drives } = this.#copies
    const bytes = paths.map((_, copy) => this.#field(copy, 'readBytes'))
    const total = bytes.reduce((sum, own) => sum + own, 0)
    return paths.map((path, copy) => {
      const drive = files[copy * (files.length / paths.length)]!.drive ?? 0
      return {
        path,
        drive: drives[drive]!,
        bytes: bytes[copy]!,
        share: total === 0 ? 0 : bytes[copy]! / total,
        driveBytesPerSecond: this.#driveBytesPerSecond[drive] ?? 0,
        state: this.#state(copy),
        failures: this.#field(copy, 'failures'),
      }
    })
  }

  /** One sentence for each state that a copy came into, in the order they were noticed. */
  warnings(): readonly string[] {
    if (this.#copies.paths.length === 1) return []
    this.#refresh()
    this.#copies.paths.forEach((_, copy) => {
      const state = this.#state(copy)
      if (state !== 'healthy') this.#warnings.set(`${copy} ${state}`, this.#warnings.get(`${copy} ${state}`) ?? this.#sentence(copy, state))
    })
    return [...this.#warnings.values()]
  }

  #sentence(copy: number, state: 'failing' | 'dropped'): string {
    const { paths, files } = this.#copies
    const name = copy === 0 ? paths[0]! : `the mirror ${paths[copy]!}`
    if (state === 'dropped') return `${name} became shorter or was changed while it was in use: it is not read any more, the other copies are`
    const errno = this.#field(copy, 'errno')
    const file = files[copy * (files.length / paths.length) + this.#field(copy, 'file')]!
    return `${name} fails (${errnoNames.get(errno) ?? `errno ${errno}`} at byte ${this.#field(copy, 'offset')} of ${basename(file.path)}): it is read only where no other copy can be. Check the drive: hypura doctor`
  }

  #state(copy: number): keyof typeof copyState {
    const found = this.#field(copy, 'state')
    return (Object.keys(copyState) as (keyof typeof copyState)[]).find((name) => copyState[name] === found) ?? 'healthy'
  }

  #field(copy: number, name: keyof typeof copyIndex): number {
    return this.#row[copy * fields + copyIndex[name]]!
  }

  /** A closed engine tells nothing: what was known last stays. */
  #refresh(): void {
    const row = new Float64Array(this.#row.length)
    try {
      this.#engine.copies(row)
    } catch {
      return
    }
    if (row.some((value) => value !== 0)) this.#row.set(row)
  }
}
