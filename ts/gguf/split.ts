/**
 * Models in several files: `name-00001-of-00003.gguf` and its fellows, found from any one of them.
 *
 * Parts come from the folder of the given file and from nowhere else: their names are made from its name, never from
 * metadata. What the metadata says (number, count, tensors in all) must agree with the names and with what is there.
 */
import { HypuraError } from '../base/errors.js'
import { corrupt, fileName, number, quote } from './failure.js'
import type { GgufLimits } from './limits.js'
import type { GgufPart } from './part.js'

export interface SplitFacts {
  /** From 0 on. */
  readonly no: number
  readonly count: number
  /** Tensors of all parts together. */
  readonly tensors: number
}

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s

/** What a part says of itself; undefined for a model in one file. */
export function splitFacts(part: GgufPart, limits: GgufLimits): SplitFacts | undefined {
  const { metadata, file: { path } } = part
  const count = metadata.integer('split.count')
  if (count === undefined) return undefined
  if (count === 0 || count > limits.parts) {
    throw corrupt({ path, rule: 'F2', field: 'split.count', offset: metadata.offsetOf('split.count'), found: count, allowed: `1 to ${limits.parts}` },
      `the model claims to be split into ${number(count)} parts.`)
  }
  if (count === 1) return undefined
  const no = metadata.integer('split.no')
  if (no === undefined || no >= count) {
    throw corrupt({ path, rule: 'F2', field: 'split.no', offset: metadata.offsetOf('split.no'), found: no ?? 'missing', allowed: `0 to ${count - 1}` },
      no === undefined ? `the part does not say which of ${count} it is.` : `the part says it is number ${no} (counted from 0) of ${count}.`)
  }
  const tensors = metadata.integer('split.tensors.count')
  if (tensors === undefined) {
    throw corrupt({ path, rule: 'F2', field: 'split.tensors.count', found: 'missing', allowed: 'the number of tensors in all parts' },
      'the part does not say how many tensors the parts have together.')
  }
  return { no, count, tensors }
}

/** The paths of all parts, in order. The file's own name must agree with its metadata. */
export function partPaths(path: string, facts: SplitFacts): string[] {
  const name = fileName(path)
  const match = partName.exec(name)
  const ending = partEnding(facts.no, facts.count)
  if (match === null || Number(match[2]) !== facts.no + 1 || Number(match[3]) !== facts.count) {
    throw corrupt({ path, rule: 'F2', field: 'file name', found: quote(name), allowed: `...${ending}` },
      `this is part ${facts.no + 1} of ${facts.count}, but its name does not end in ${ending}.`,
      'The other parts are found by name: give all parts their original names, in one folder.')
  }
  const prefix = path.slice(0, path.length - ending.length)
  return Array.from({ length: facts.count }, (_, no) => prefix + partEnding(no, facts.count))
}

/** The paths of all parts beside a file that has the name of one of them; undefined when it has not. */
export function fellowPaths(path: string, count: number): string[] | undefined {
  const match = partName.exec(fileName(path))
  const no = Number(match?.[2]) - 1
  if (match === null || Number(match[3]) !== count || no < 0 || no >= count) return undefined
  const prefix = path.slice(0, path.length - partEnding(no, count).length)
  return Array.from({ length: count }, (_, other) => prefix + partEnding(other, count))
}

function partEnding(no: number, count: number): string {
  const digits = (value: number): string => String(value).padStart(5, '0')
  return `-${digits(no + 1)}-of-${digits(count)}.gguf`
}

/** Turns "not found" for a part into the error that names all that is known about it. */
export function missingPart(error: unknown, path: string, no: number, count: number): unknown {
  if (!(error instanceof HypuraError) || error.code !== 'ERR_HYPURA_NOT_FOUND') return error
  return new HypuraError(
    'ERR_HYPURA_SHARD_MISSING',
    `Part ${no + 1} of ${count} of this model is missing: ${fileName(path)} is expected beside the other parts. Download it into the same folder, under this name.`,
    { rule: 'F2', field: 'file', path, found: 'missing', allowed: fileName(path) }, { cause: error },
  )
}

/** Checks that the parts, in order, belong together. `facts` are those of the part that was given. */
export function requireFellows(parts: readonly GgufPart[], facts: SplitFacts, limits: GgufLimits): void {
  const architecture = parts[0]!.metadata.string('general.architecture')
  for (const [no, part] of parts.entries()) {
    const path = part.file.path
    const own = splitFacts(part, limits)
    if (own === undefined || own.count !== facts.count || own.tensors !== facts.tensors || own.no !== no) {
      const found = own === undefined ? 'not a part' : `part ${own.no + 1} of ${own.count}, ${own.tensors} tensors`
      const allowed = `part ${no + 1} of ${facts.count}, ${facts.tensors} tensors`
      throw corrupt({ path, rule: 'F2', field: 'split.*', offset: part.metadata.offsetOf('split.no'), found, allowed },
        `this file is ${found}, expected is ${allowed}: files of different models or a renamed part.`, 'Put the parts of one model into one folder under their original names.')
    }
    const ownArchitecture = part.metadata.string('general.architecture')
    if (ownArchitecture !== undefined && ownArchitecture !== architecture) {
      throw corrupt({ path, rule: 'F2', field: 'general.architecture', offset: part.metadata.offsetOf('general.architecture'), found: quote(ownArchitecture), allowed: quote(architecture ?? 'none') },
        `this part is of the family ${quote(ownArchitecture)}, the first one of ${quote(architecture ?? 'none')}.`, 'Put the parts of one model into one folder.')
    }
  }
  const tensors = parts.reduce((sum, part) => sum + part.tensors.length, 0)
  if (tensors !== facts.tensors) {
    throw corrupt({ path: parts[0]!.file.path, rule: 'F2', field: 'split.tensors.count', found: tensors, allowed: String(facts.tensors) },
      `the parts have ${number(tensors)} tensors together, declared are ${number(facts.tensors)}.`)
  }
}
