/**
 * Which experts follow which, for one relation between two choices: rows of counts by (layer, expert) that came before.
 *
 * A row keeps at most `width` followers; a new one wears down the rarest until it takes its place (Misra and Gries 1982), so the size is
 * fixed and what is common stays. Rows are halved when they have seen enough, so that old habits fade.
 */

/** Followers of one expert that are kept; models of at most so many experts per layer lose nothing. */
const rowWidthMax = 32
/** Choices after which a row is halved: about what a conversation holds of one expert. */
const rowTotalMax = 512
/** In place of a follower, where there is none. */
export const nobody = 0xffff

export interface RelationTable {
  /** Followers kept per row. */
  readonly width: number
  readonly followers: Uint16Array
  readonly counts: Float32Array
  readonly totals: Float32Array
}

export const rowWidth = (nExpert: number): number => Math.min(rowWidthMax, nExpert)

export function relationTable(rows: number, nExpert: number, widthMax: number = rowWidthMax): RelationTable {
  const width = Math.min(rowWidth(nExpert), widthMax)
  return {
    width,
    followers: new Uint16Array(rows * width).fill(nobody),
    counts: new Float32Array(rows * width),
    totals: new Float32Array(rows),
  }
}

/** One choice that followed what `row` stands for. */
export function learn({ width, followers, counts, totals }: RelationTable, row: number, experts: ArrayLike<number>): void {
  const begin = row * width
  for (let i = 0; i < experts.length; i++) {
    let place = -1
    let rarest = begin
    for (let at = begin; at < begin + width; at++) {
      if (followers[at] === experts[i]) {
        place = at
        break
      }
      if (counts[at]! < counts[rarest]!) rarest = at
    }
    if (place >= 0) counts[place]! += 1
    else if (counts[rarest]! < 1) {
      followers[rarest] = experts[i]!
      counts[rarest] = 1
    } else counts[rarest]! -= 1
  }
  totals[row]! += 1
  if (totals[row]! < rowTotalMax) return
  totals[row]! /= 2
  for (let at = begin; at < begin + width; at++) counts[at]! /= 2
}

/** Calls `each` with the followers of a row and how often each came, of totals[row]. */
export function followersOf({ width, followers, counts }: RelationTable, row: number, each: (expert: number, count: number) => void): void {
  for (let at = row * width; at < (row + 1) * width; at++) if (followers[at] !== nobody) each(followers[at]!, counts[at]!)
}
