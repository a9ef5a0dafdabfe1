// What could break: a place is read twice, a shuffle is none or misses blocks, what was read before is taken although there is
// other, or offsets are illegal for direct reads.
// How we notice: every property over random shapes against plain sets of numbers.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { drawOffsets, OffsetSet } from './read-offsets.js'

const page = 4096
const shapes = fc.record({
  fileBytes: fc.integer({ min: 1, max: 3_000_000 }),
  pages: fc.integer({ min: 1, max: 64 }),
  count: fc.integer({ min: 1, max: 2000 }),
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
})

test('offsets are different whole blocks inside the file, as many as asked for or as there are', () => {
  fc.assert(fc.property(shapes, ({ fileBytes, pages, count, seed }) => {
    const blockBytes = pages * page
    const offsets = [...drawOffsets({ fileBytes, blockBytes, count, seed })]
    const blocks = Math.max(1, Math.floor(fileBytes / blockBytes))
    expect(offsets).toHaveLength(Math.min(count, blocks))
    expect(new Set(offsets).size).toBe(offsets.length)
    for (const offset of offsets) {
      expect(offset % blockBytes).toBe(0)
      expect(offset === 0 || offset + blockBytes <= fileBytes).toBe(true)
    }
    expect([...drawOffsets({ fileBytes, blockBytes, count, seed })]).toEqual(offsets)
  }))
})

test('the order is a shuffle that the seed decides', () => {
  const draw = (seed: number): number[] => [...drawOffsets({ fileBytes: 1000 * page, blockBytes: page, count: 1000, seed })]
  const orders = Array.from({ length: 20 }, (_, seed) => draw(seed))
  expect(new Set(orders.map(String)).size).toBe(20)
  // Each place comes first about equally often: 4,000 draws over 10 tenths of the file, 400 each, sigma 19.
  const tenths = new Uint32Array(10)
  for (let seed = 0; seed < 4000; seed++) tenths[Math.floor(drawOffsets({ fileBytes: 1000 * page, blockBytes: page, count: 1, seed })[0]! / page / 100)]!++
  for (const seen of tenths) expect(Math.abs(seen - 400)).toBeLessThan(5 * 19)
  const neighbours = draw(1).filter((offset, i, all) => i > 0 && offset === all[i - 1]! + page)
  expect(neighbours.length).toBeLessThan(10)
})

test('what was read before is taken last, and its share is told', () => {
  fc.assert(fc.property(shapes, fc.integer({ min: 1, max: 50 }), ({ fileBytes, pages, count, seed }, readFirst) => {
    const blockBytes = pages * page
    const avoid = new OffsetSet(fileBytes)
    const before = new Set(drawOffsets({ fileBytes, blockBytes, count: readFirst, seed: seed ^ 1 }))
    for (const offset of before) avoid.add(offset, blockBytes)
    const offsets = [...drawOffsets({ fileBytes, blockBytes, count, seed, avoid })]
    expect(new Set(offsets).size).toBe(offsets.length)
    const firstKnown = offsets.findIndex((offset) => before.has(offset))
    if (firstKnown >= 0) for (const offset of offsets.slice(firstKnown)) expect(before.has(offset)).toBe(true)
    for (const offset of offsets) expect(avoid.shareOf(offset, Math.min(blockBytes, fileBytes))).toBe(before.has(offset) ? 1 : 0)
  }))
  const half = new OffsetSet(16 * page)
  half.add(0, 2 * page)
  expect(half.shareOf(0, 4 * page)).toBe(0.5)
  expect(half.shareOf(page + 1, 1)).toBe(1)
})

test('a file of terabytes costs two megabytes of memory and no time', () => {
  const fileBytes = 8 * 2 ** 40
  const avoid = new OffsetSet(fileBytes)
  const offsets = drawOffsets({ fileBytes, blockBytes: page, count: 1000, seed: 5, avoid })
  expect(new Set(offsets).size).toBe(1000)
  for (const offset of offsets) avoid.add(offset, page)
  for (const offset of offsets) expect(avoid.shareOf(offset, page)).toBe(1)
  expect(Math.max(...offsets)).toBeGreaterThan(fileBytes / 2)
})
