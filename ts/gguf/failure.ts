/**
 * How the parser refuses: one typed error with the rule that was broken, the place, and a sentence with advice.
 *
 * `rule` is the id of a malformed class (docs/reliability.md and test/malformed), so that a report from the field names
 * its test. Text from the file is quoted and cut before it enters a message: names are hostile too.
 */
import { HypuraError, type ErrorCode } from '../base/errors.js'

export interface Fault {
  readonly path: string
  readonly rule: string
  /** What was being read: a key, a tensor, a field of the header. */
  readonly field: string
  /** Byte offset in the file, where one makes sense. */
  readonly offset?: number | undefined
  readonly found?: string | number | bigint | undefined
  readonly allowed?: string | undefined
}

export const redownload =
  'Fetch the file again; if another program reads it, please report it to us with the rule in brackets.'

/** The error of a file that breaks the format. `sentence` ends with a full stop; `advice` too. */
export function corrupt(fault: Fault, sentence: string, advice: string = redownload): HypuraError {
  return refuse('ERR_HYPURA_CORRUPT_GGUF', fault, sentence, advice)
}

export function refuse(code: ErrorCode, fault: Fault, sentence: string, advice: string): HypuraError {
  const place = fault.offset === undefined ? fault.field : `${fault.field}, byte ${number(fault.offset)}`
  return new HypuraError(code, `${fileName(fault.path)}: ${sentence} ${advice} [${fault.rule}: ${place}]`, { ...fault })
}

/** A file that ends before what it declares: both sizes, and how to go on. */
export function cutShort(fault: Fault, hasBytes: number, needsBytes: number | bigint): HypuraError {
  return corrupt(
    fault,
    `the file has ${number(hasBytes)} bytes, but ${fault.field} needs at least ${number(needsBytes)}.`,
    'Most likely the download was cut short: resume it (curl -C - -L -O URL), or fetch the file again.',
  )
}

/** The last component of a path, for messages. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Hostile text for a message: quoted, control characters escaped, at most 80 characters. */
export function quote(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 77)}...` : text
  return JSON.stringify(cut).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** 1234567 as 1,234,567. */
export function number(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}
