// What could break: a lucky cell is recommended, a cached one judges the drive, a profile is kept that is none.
// How we notice: sweeps made up for each case.
import { describe, expect, test } from 'vitest'
import type { Drive, ReadCell } from '../../ts/engine/index.js'
import { humanText, jsonValue, markdownText, csvText, type Report } from './report.js'
import { fastestOf, medianOf, sizeLabel, type SweepResult } from './sweep.js'
import { verdictOf } from './verdict.js'

const drive: Drive = {
  name: 'nvme0n1', kind: 'disk', fileSystem: 'ext4', mountPoint: '/', devices: ['nvme0n1'], model: 'ACME', firmware: '1', serial: 'S', rotational: false,
  removable: false, sizeBytes: 1e12, reason: '',
}
const cell = (gigabytesPerSecond: number, change: Partial<ReadCell> = {}): ReadCell => ({
  backend: 'uring', direct: true, directReason: '', blockBytes: 2 ** 22, depth: 8, bytes: 2 ** 28, seconds: 2 ** 28 / (gigabytesPerSecond * 1e9),
  bytesPerSecond: gigabytesPerSecond * 1e9, latencyMs: { p50: 8, p99: 20, max: 21 }, cpuShare: 0.03, osBytes: 2 ** 28, cacheServedShare: 0, hugePageShare: 1, repeatedShare: 0, cached: false,
  ...change,
})
const deep = { depth: 32 }
const lone = cell(0.05, { blockBytes: 4096, depth: 1 })
function sweepOf(own: readonly ReadCell[], rival: readonly ReadCell[], cells: readonly ReadCell[] = []): SweepResult {
  return { own, rival, cells: [medianOf(own), ...(cells.length > 0 ? cells : rival.slice(0, 1))], lone }
}
const passes = (...speeds: number[]): ReadCell[] => speeds.map((speed) => cell(speed))

describe('the verdict', () => {
  test('a way that wins each round by a tenth is recommended, with the flags of run', () => {
    const verdict = verdictOf(sweepOf(passes(3, 3, 3.1, 2.9), [3.6, 3.7, 3.5].map((speed) => cell(speed, deep))), drive)
    expect(verdict.text).toMatch(/^uring 4 MiB x 32 is 20 % faster .*--io uring --io-depth 32$/)
    expect(verdict.best.depth).toBe(32)
    expect(verdict.share).toBeCloseTo(3 / 3.6, 9)
    expect(verdict.doubts).toEqual([])
  })
  test('one that loses a round, or leads by less, is not', () => {
    for (const rival of [[5, 5, 2.8], [3.2, 3.2, 3.2]]) {
      const verdict = verdictOf(sweepOf(passes(3, 3, 3.1, 2.9), rival.map((speed) => cell(speed, deep))), drive)
      expect(verdict.text).toMatch(/^no way was faster/)
      expect(verdict.best).toBe(verdict.own)
      expect(verdict.share).toBe(1)
    }
  })
  test('blocks that the engine does not read in are no advice', () => {
    const verdict = verdictOf(sweepOf(passes(3, 3, 3, 3), [4, 4, 4].map((speed) => cell(speed, { blockBytes: 2 ** 24 }))), drive)
    expect(verdict.text).not.toContain('--io')
  })
  test('nothing to compare with, and a page cache in between, are no verdict', () => {
    expect(verdictOf(sweepOf(passes(3, 3), []), drive).text).toMatch(/no other way/)
    const verdict = verdictOf(sweepOf([cell(9, { cached: true })], []), drive)
    expect(verdict.text).toMatch(/^none: the page cache/)
    expect(verdict.notSavedBecause).toMatch(/page cache/)
  })
})

test('cells from the page cache are never the fastest; a median is a real pass and not the better one of two', () => {
  expect(fastestOf([cell(9, { cached: true }), cell(2), cell(3)])!.bytesPerSecond).toBe(3e9)
  expect(fastestOf([cell(9, { cached: true })])).toBeUndefined()
  expect(medianOf(passes(4, 1, 3, 2)).bytesPerSecond).toBe(2e9)
})

test.each([
  ['somebody else uses the drive', passes(3, 1.5, 3), {}, /differ by more than half/], ['no huge pages', [cell(1, { hugePageShare: 0 })], {}, /huge pages/],
  ['read again', [cell(3, { repeatedShare: 1 })], {}, /read before/], ['no counter', [cell(3, { osBytes: undefined, cacheServedShare: undefined })], {}, /nothing proves/],
  ['buffered', [cell(1, { direct: false, directReason: 'the file system refuses' })], {}, /page cache \(the file system refuses\)/],
  ['memory', [cell(8)], { kind: 'memory', reason: 'the file lies in memory' }, /no figure of a local drive: the file lies in memory/],
] as const)('a doubt is said: %s', (_, own, change, doubt) => {
  expect(verdictOf(sweepOf(own, []), { ...drive, ...change }).doubts.join('\n')).toMatch(doubt)
})

test('memory, networks, overlays and short passes leave no profile', () => {
  for (const kind of ['memory', 'network', 'overlay'] as const) expect(verdictOf(sweepOf(passes(3), []), { ...drive, kind }).notSavedBecause).toContain(kind)
  expect(verdictOf(sweepOf([cell(3, { bytes: 2 ** 25 })], []), drive).notSavedBecause).toMatch(/32 MiB/)
  for (const kind of ['disk', 'unknown'] as const) expect(verdictOf(sweepOf(passes(3), []), { ...drive, kind }).notSavedBecause).toBeUndefined()
})

test('every format shows each cell once, and holes in the grid as holes', () => {
  const own = passes(3, 3.1, 3.2, 2.9)
  const cells = [cell(1, { blockBytes: 2 ** 16, depth: 1 }), medianOf(own), cell(4, { blockBytes: 2 ** 24, depth: 8, cached: true }), cell(2, { backend: 'pread', depth: 1, repeatedShare: 1 })]
  const result = { cells, own, rival: [cell(2.5, deep)], lone }
  const report: Report = { path: 'a\x1b[31mb.gguf', fileBytes: 2 ** 32, drive, seed: 7, forced: false, result, verdict: verdictOf(result, drive), savedTo: undefined, notSavedBecause: '--no-save' }
  const human = humanText(report)
  expect(human).toMatch(/^block +depth 1 +depth 8\n64 KiB +1\.00 +-\n4 MiB +- +e\* 3\.00\n16 MiB +- +c 4\.00$/m)
  expect(human).toMatch(/^4 MiB +r 2\.00$/m)
  expect(human).not.toMatch(/[\x00-\x09\x0b-\x1f]|undefined|NaN| $/m)
  expect(markdownText(report)).toMatch(/^\| 16 MiB \| - \| c 4\.00 \|$/m)
  const rows = csvText(report).split('\n')
  expect(rows).toHaveLength(1 + own.length + 1 + (cells.length - 1) + result.rival.length)
  for (const row of rows) expect(row.split(',')).toHaveLength(rows[0]!.split(',').length)
  expect(JSON.parse(JSON.stringify(jsonValue(report)))).toMatchObject({ schema: 1, seed: 7, own_share_of_best: 1, saved_to: null, not_saved_because: '--no-save', cells: { length: 4 } })
})

test('sizes of blocks are exact', () => {
  expect([4096, 2 ** 16, 1.5 * 2 ** 20, 2 ** 22].map(sizeLabel)).toEqual(['4 KiB', '64 KiB', '1536 KiB', '4 MiB'])
})
