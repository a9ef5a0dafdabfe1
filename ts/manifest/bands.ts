/**
 * How a matrix is cut into row bands, and how wide an extent becomes for direct I/O.
 *
 * The cut runs between output rows, never along the dot product, so the arithmetic does not know about it. Thirty-two rows
 * of any GGUF type are a multiple of 32 bytes, so every band keeps the alignment its tensor has in the file.
 */

/** One read is at most this long; kReadBytesMax of native/base/limits.h. */
export const readBytesMax: number = 4 * 2 ** 20
/** Direct I/O begins and ends on multiples of this; kDirectAlignmentBytes of native/base/limits.h. */
export const directAlignmentBytes = 4096
/** Rows of the token embedding that are read together; kRowsPerRowBand of native/base/limits.h. */
export const rowsPerRowBand = 32
/** Bands begin at multiples of this many rows. */
const bandRowStep = 32

export const alignDown = (bytes: number): number => bytes - (bytes % directAlignmentBytes)
export const alignUp = (bytes: number): number => alignDown(bytes + directAlignmentBytes - 1)

/**
 * Bytes of an extent widened to direct-I/O alignment, begin down and end up.
 * Example: 884,736 bytes at 10,016: hull 8,192 .. 897,024, 888,832 bytes.
 */
export const hullBytes = (offset: number, bytes: number): number => alignUp(offset + bytes) - alignDown(offset)

export interface RowBand {
  readonly begin: number
  readonly count: number
}

/** Equal bands of `rowsPerBand` rows, the last one shorter. */
export function cutRows(nRows: number, rowsPerBand: number): RowBand[] {
  return Array.from({ length: Math.ceil(nRows / rowsPerBand) }, (_, i) => ({
    begin: i * rowsPerBand,
    count: Math.min(rowsPerBand, nRows - i * rowsPerBand),
  }))
}

/**
 * Rows of each band: the least number n of bands for which ceil(nRows / n), rounded up to a multiple of 32, fits one read
 * with its hull, wherever the bands of this tensor begin. A matrix whose 32 rows do not fit gets bands of 32 rows: the
 * block is still one, its read is cut.
 *
 * @param offset of the tensor in its file, bytes
 */
export function rowsPerBand(nRows: number, bytesPerRow: number, offset: number): number {
  // Bands begin at offset + i x step, so no begin lies more than this behind a multiple of the alignment.
  const leadMax = directAlignmentBytes - greatestCommonDivisor(directAlignmentBytes, offset, bandRowStep * bytesPerRow)
  const rowsThatFit = Math.floor((readBytesMax - leadMax) / bytesPerRow)
  const rowsMax = Math.max(bandRowStep, rowsThatFit - (rowsThatFit % bandRowStep))
  const nBands = Math.ceil(nRows / rowsMax)
  return Math.ceil(Math.ceil(nRows / nBands) / bandRowStep) * bandRowStep
}

function greatestCommonDivisor(...numbers: readonly number[]): number {
  return numbers.reduce((a, b) => {
    while (b !== 0) [a, b] = [b, a % b]
    return a
  })
}
