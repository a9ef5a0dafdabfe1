/** The files in which Linux answers questions. Each may be absent: another system, an older kernel, a container that hides it. */
import { readFileSync } from 'node:fs'

/** Where the files are; tests pass folders with fixtures. */
export interface SystemFiles {
  readonly proc: string
  readonly sys: string
  readonly cgroup: string
}
export const systemFiles: SystemFiles = { proc: '/proc', sys: '/sys', cgroup: '/sys/fs/cgroup' }

/** What is not known here, and why in words. */
export interface NotAvailable {
  readonly available: false
  readonly reason: string
}

/** Undefined where the file is absent or may not be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** A whole number in a file of its own; undefined for a missing file and for "max". */
export function readNumber(path: string): number | undefined {
  const text = readText(path)?.trim()
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text)
}

/** The number in a line "name 123", "name: 123" or "name:  123 kB" (then in bytes). */
export function namedNumber(text: string, name: string): number | undefined {
  const [, digits, unit] = new RegExp(`^${name}:?[ \\t]+(\\d+)( kB)?$`, 'm').exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * (unit === undefined ? 1 : 1024)
}
