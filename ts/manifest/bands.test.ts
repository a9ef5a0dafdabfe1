// What could break: a band larger than one read, more bands than needed, rows lost or doubled at a cut, hulls that differ
// from the native ones. How we notice: the rule is tried by brute force, with hulls computed page by page.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cutRows, directAlignmentBytes, hullBytes, readBytesMax, rowsPerBand } from './bands.js'

/** Pages touched by a range, counted one by one. */
function pagesTouched(offset: number, bytes: number): number {
  let pages = 0
  for (let page = Math.floor(offset / 4096); page * 4096 < offset + bytes; page++) pages++
  return pages
}

test('hull of the worked example', () => {
  expect(hullBytes(10_016, 884_736)).toBe(897_024 - 8_192)
  expect(hullBytes(4096, 4096)).toBe(4096)
})

test('a hull is the pages that the extent touches', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 1e7 }), fc.integer({ min: 1, max: 1e6 }), (offset, bytes) => {
    expect(hullBytes(offset, bytes)).toBe(pagesTouched(offset, bytes) * directAlignmentBytes)
  }))
})

test('bands cover every row once, in order', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 500 }), (nRows, rows) => {
    const bands = cutRows(nRows, rows)
    let next = 0
    for (const { begin, count } of bands) {
      expect(begin).toBe(next)
      expect(count).toBeGreaterThan(0)
      expect(count).toBeLessThanOrEqual(rows)
      next += count
    }
    expect(next).toBe(nRows)
  }))
})

const matrix = fc.record({
  nRows: fc.integer({ min: 1, max: 40_000 }),
  bytesPerRow: fc.oneof(fc.integer({ min: 1, max: 4000 }).map((n) => n * 18), fc.constantFrom(2048, 8192, 16_384, 1152)),
  offset: fc.integer({ min: 0, max: 200_000 }).map((n) => n * 32),
})

/** Does a cut into n bands fit, wherever the bands of this tensor may begin? Tried at every reachable begin. */
function fits(nRows: number, n: number, bytesPerRow: number, offset: number): boolean {
  const rows = Math.ceil(Math.ceil(nRows / n) / 32) * 32
  for (let step = 0; step < 4096; step++) {
    if (hullBytes((offset + step * 32 * bytesPerRow) % 4096, rows * bytesPerRow) > readBytesMax) return false
  }
  return true
}

test('the number of bands is the least that fits one read', () => {
  fc.assert(fc.property(matrix, ({ nRows, bytesPerRow, offset }) => {
    const rows = rowsPerBand(nRows, bytesPerRow, offset)
    expect(rows % 32).toBe(0)
    for (const { begin, count } of cutRows(nRows, rows)) {
      expect(hullBytes(offset + begin * bytesPerRow, count * bytesPerRow)).toBeLessThanOrEqual(readBytesMax)
    }
    const n = Math.ceil(nRows / rows)
    const fewer = Array.from({ length: n - 1 }, (_, i) => i + 1).find((m) => fits(nRows, m, bytesPerRow, offset))
    expect(fewer).toBeUndefined()
  }), { numRuns: 60 })
})

test('a matrix of very long rows gets bands of 32 rows', () => {
  expect(rowsPerBand(64, 1_000_000, 0)).toBe(32)
})

test('page-aligned tensors use the whole read', () => {
  expect(rowsPerBand(4096, 8192, 8192)).toBe(512)
})
