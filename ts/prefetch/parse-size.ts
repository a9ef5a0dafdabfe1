/**
 * Amounts of memory as people write them: "16MiB", "2.4GB", "75%", "auto", 1073741824.
 *
 * KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB powers of 1024. A bare "16G" is refused, since tools disagree on what
 * it means, and the message says what to write instead.
 */
import { HypuraError } from '../base/errors.js'

export type MemorySize =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'share'; readonly share: number }
  | { readonly kind: 'auto' }

const unitBytes: ReadonlyMap<string, number> = new Map([
  ['b', 1],
  ['kb', 1e3], ['mb', 1e6], ['gb', 1e9], ['tb', 1e12],
  ['kib', 2 ** 10], ['mib', 2 ** 20], ['gib', 2 ** 30], ['tib', 2 ** 40],
])

/** Error: ERR_HYPURA_INVALID_ARGUMENT with what was found, and a suggestion where one is near. */
export function parseSize(text: string | number): MemorySize {
  const trimmed = String(text).trim()
  if (trimmed.toLowerCase() === 'auto') return { kind: 'auto' }
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z%]*)$/.exec(trimmed) ?? []
  const amount = Number(digits)
  if (digits === '' || !Number.isFinite(amount)) throw badSize(trimmed, suggestionFor(trimmed))
  if (unit === '%') {
    if (amount > 0 && amount <= 100) return { kind: 'share', share: amount / 100 }
    throw badSize(trimmed, amount > 100 ? '100%' : undefined)
  }
  const factor = unitBytes.get(unit === '' ? 'b' : unit.toLowerCase())
  if (factor === undefined) throw badSize(trimmed, suggestionFor(trimmed))
  const bytes = Math.floor(amount * factor)
  if (bytes < 1 || bytes > Number.MAX_SAFE_INTEGER) throw badSize(trimmed, undefined)
  return { kind: 'bytes', bytes }
}

/** Bytes of a size: a share is taken of `totalBytes`, auto is what the caller found to be safe. */
export function resolveSize(size: MemorySize, { totalBytes, autoBytes }: { totalBytes: number; autoBytes: number }): number {
  if (size.kind === 'bytes') return size.bytes
  return size.kind === 'auto' ? autoBytes : Math.floor(totalBytes * size.share)
}

/** "3.4 GiB", "61.5 MiB", "900 B": for sentences. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes >= 100 * size ? 0 : 1)} ${unit}`
  }
  return `${bytes} B`
}

/** The least size in whole MiB that holds `bytes`, as an option's value: "3482MiB". */
export const sizeOption = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)}MiB`

/** "16G" and "16 gigabytes" → "16GiB"; "2,4GB" → "2.4GB". */
function suggestionFor(text: string): string | undefined {
  const [, digits, letter] = /^(\d+(?:[.,]\d+)?)\s*([kmgt])/i.exec(text) ?? []
  if (digits === undefined || letter === undefined) return undefined
  const exact = /^[\d.,\s]+([kmgt]i?b)$/i.exec(text)?.[1]
  return `${digits.replace(',', '.')}${exact ?? `${letter.toUpperCase()}iB`}`
}

function badSize(text: string, suggestion: string | undefined): HypuraError {
  const advice = suggestion === undefined
    ? 'Write 16GiB, 900MB, 75%, auto, or a number of bytes.' : `Did you mean "${suggestion}"?`
  const message = `"${text}" is not an amount of memory. ${advice}`
  return new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', message, { found: text, suggestion })
}
