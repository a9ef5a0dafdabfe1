// What could break: kilobytes taken for bytes, a line of one name read under another's, a missing file that becomes zero.
// How we notice: a tree with known figures, one with none, and this process's own against what Node counts itself.
import { afterAll, expect, test } from 'vitest'
import { fixture } from './fixture.test.helper.js'
import { processStats } from './process-stats.js'

const files = fixture()
afterAll(files.remove)

test('figures come from the lines of their names, in bytes', () => {
  const { proc } = files.tree({
    'proc/self/io': 'rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5000\nwrite_bytes: 6000\ncancelled_write_bytes: 70\n',
    'proc/self/status': 'Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\nRssAnon:\t    5000 kB\nRssFile:\t    3000 kB\nVmSwap:\t      40 kB\n',
  })
  expect(processStats({ proc })).toMatchObject({
    readBytes: 5000, writtenBytes: 6000, cancelledWriteBytes: 70, peakResidentBytes: 9_216_000, residentBytes: 8_192_000, residentAnonBytes: 5_120_000,
    residentFileBytes: 3_072_000, swapBytes: 40_960,
  })
})

test('what the system hides is undefined, and what Node knows still answers', () => {
  const hidden = processStats({ proc: files.folder })
  expect(hidden).toMatchObject({ readBytes: undefined, writtenBytes: undefined, residentAnonBytes: undefined, residentFileBytes: undefined, swapBytes: undefined })
  expect(hidden.residentBytes).toBeGreaterThan(2 ** 20)
  expect(hidden.peakResidentBytes).toBeGreaterThan(2 ** 20)
})

test('this process: memory that is touched shows up', () => {
  const before = processStats()
  const touched = Buffer.alloc(64 * 2 ** 20, 1)
  const after = processStats()
  expect(touched[4096]).toBe(1)
  expect(after.peakResidentBytes - before.residentBytes).toBeGreaterThan(48 * 2 ** 20)
  expect(after.minorFaults).toBeGreaterThan(before.minorFaults)
})
