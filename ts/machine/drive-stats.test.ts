// What could break: sectors taken for the drive's own 4096 bytes, columns shifted by one, half of an array, a figure made of an
// empty file. How we notice: a line in which every column differs; sums; and this machine's counters moving with a direct write.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { driveOf } from './drive.js'
import { driveStats, driveStatsBetween, parseBlockStat } from './drive-stats.js'
import { fixture } from './fixture.test.helper.js'

const files = fixture()
afterAll(files.remove)

test('each column is read as documented, with and without the ones that newer kernels append', () => {
  const eleven = '   101      202   3030      404      505   606   7070      808        9     1010   1111'
  const expected = { reads: 101, readBytes: 3030 * 512, writes: 505, writtenBytes: 7070 * 512, busyMs: 1010 }
  expect(parseBlockStat(`${eleven}\n`)).toEqual(expected)
  expect(parseBlockStat(`${eleven} 1 2 3 4 5 6\n`)).toEqual(expected)
})

test.each([[''], ['1 2 3'], ['1 2 3 4 5 6 7 8 9 10 -11'], ['a b c d e f g h i j k'], ['1 2 3 4 5 6 7 8 9 10 1e3']])('"%s" is no answer', (text) => {
  expect(parseBlockStat(text)).toBeUndefined()
})

test('an array is the sum of its devices, and unknown as soon as one of them is', () => {
  const { sys } = files.tree({ 'sys/block/sda/stat': '1 0 2 0 3 0 4 0 0 5 0', 'sys/block/sdb/stat': '10 0 20 0 30 0 40 0 0 50 0' })
  expect(driveStats({ devices: ['sda', 'sdb'] }, { sys })).toEqual({ reads: 11, readBytes: 22 * 512, writes: 33, writtenBytes: 44 * 512, busyMs: 55 })
  expect(driveStats({ devices: ['sda', 'sdc'] }, { sys })).toBeUndefined()
  expect(driveStats({ devices: [] }, { sys })).toBeUndefined()
})

test('a counter that began again is no negative traffic', () => {
  const stats = { reads: 5, readBytes: 5, writes: 5, writtenBytes: 5, busyMs: 5 }
  expect(driveStatsBetween(stats, { ...stats, readBytes: 12, writes: 1 })).toEqual({ reads: 0, readBytes: 7, writes: 0, writtenBytes: 0, busyMs: 0 })
})

const temporary = driveOf(tmpdir())
test.skipIf(temporary.kind !== 'disk')('this machine counts what is written past the cache', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-stats-'))
  try {
    const before = driveStats(temporary)!
    execFileSync('dd', ['if=/dev/zero', `of=${join(folder, 'x')}`, 'bs=1M', 'count=16', 'conv=fsync'], { stdio: 'ignore' })
    const grown = driveStatsBetween(before, driveStats(temporary)!)
    expect(grown.writtenBytes).toBeGreaterThanOrEqual(16 * 2 ** 20)
    expect(grown.writes).toBeGreaterThan(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
