/** A memory plan's items in bytes, and the arithmetic of pages that keeps their sum honest. */

export const pageBytes = 4096

export const pages = (bytes: number): number => Math.ceil(bytes / pageBytes) * pageBytes
export const wholePages = (bytes: number): number => Math.floor(bytes / pageBytes) * pageBytes

/** What memory goes to; each item is a whole number of pages. */
export interface MemoryItems {
  /** Norms, biases, routers: always in memory. */
  readonly trunk: number
  /** Bands that stay. */
  readonly pinned: number
  /** Room through which the other bands stream. */
  readonly ring: number
  readonly experts: number
  /** Rows of the token embedding. */
  readonly rows: number
  readonly kv: number
  readonly scratch: number
  readonly total: number
}

export function addUp(items: Omit<MemoryItems, 'total'>): MemoryItems {
  const { trunk, pinned, ring, experts, rows, kv, scratch } = items
  return { ...items, total: trunk + pinned + ring + experts + rows + kv + scratch }
}
