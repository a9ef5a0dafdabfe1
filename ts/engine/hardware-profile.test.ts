// What could break: a profile of one drive is believed of another, a lucky pass decides plans, memory and networks get profiles, a
// lucky cell is recommended. How we notice: drives that differ in one property, and figures made up for each case.
import { describe, expect, test } from 'vitest'
import type { Drive } from '../machine/drive.js'
import { assumedDrive } from '../prefetch/cost-model.js'
import { judgeDuel } from './drive-bench.js'
import { costOf, type DriveProfile, fileName, type ProfileCell } from './hardware-profile.js'
import type { ReadCell } from './measure-reads.js'

const nvme: Drive = {
  name: 'nvme0n1', kind: 'disk', fileSystem: 'ext4', mountPoint: '/', devices: ['nvme0n1'], model: 'ACME 1TB', firmware: '7', serial: 'S1', rotational: false,
  removable: false, sizeBytes: 1e12, reason: '',
}

test('a drive is known again under another name, firmware and mount point; another drive, size or file system is another', () => {
  const same = fileName(nvme)
  expect(same).toMatch(/^drives\/[0-9a-f]{32}$/)
  expect(fileName({ ...nvme, name: 'nvme1n1', devices: ['nvme1n1'], mountPoint: '/mnt', firmware: '8' })).toBe(same)
  for (const other of [{ serial: 'S2' }, { model: 'ACME 2TB' }, { sizeBytes: 2e12 }, { fileSystem: 'btrfs' }]) expect(fileName({ ...nvme, ...other })).not.toBe(same)
  const virtual = { ...nvme, serial: undefined }
  expect(fileName({ ...virtual, devices: ['vdb'] })).not.toBe(fileName(virtual))
  for (const kind of ['memory', 'network', 'overlay', 'unknown'] as const) expect(fileName({ ...nvme, kind })).toBeUndefined()
})

describe('the cost that plans are made with', () => {
  const cell = (backend: string, gb: number, change: Partial<ProfileCell> = {}): ProfileCell =>
    ({ backend, direct: backend !== 'buffered', blockBytes: 2 ** 22, depth: 8, bytesPerSecond: gb * 1e9, latencyP50Ms: 8, cpuShare: 0, hugePageShare: 1, ...change })
  const profile = (...cells: ProfileCell[]): DriveProfile => ({ version: 1, measuredAt: '2026-01-01T00:00:00Z', kernel: '6', drive: 'nvme0n1', cells })
  const speed = (of: DriveProfile, backend = 'auto'): number | undefined => costOf(of, backend)?.bytesPerSecond

  test('is the median of the engine\'s own way, not a lucky pass, a faster depth or another backend', () => {
    const of = profile(cell('uring', 3), cell('uring', 9), cell('uring', 2), cell('uring', 8, { depth: 32 }), cell('pread', 4), cell('pread', 7, { blockBytes: 2 ** 24 }), cell('buffered', 1))
    expect([speed(of), speed(of, 'uring'), speed(of, 'pread'), speed(of, 'buffered'), speed(of, 'other')]).toEqual([3e9, 3e9, 4e9, 1e9, undefined])
    expect(speed(profile(cell('uring', 3), cell('uring', 9)))).toBe(3e9)
  })
  test('is what there is: a file system without direct reads, a sweep without the engine\'s cell', () => {
    expect(speed(profile(cell('buffered', 1)))).toBe(1e9)
    expect(speed(profile(cell('uring', 2, { depth: 1 }), cell('pread', 5, { depth: 32 })))).toBe(5e9)
  })
  test('has the latency of the smallest single read', () => {
    const of = profile(cell('uring', 3), cell('uring', 1, { depth: 1, latencyP50Ms: 4 }), cell('uring', 0.1, { depth: 1, blockBytes: 4096, latencyP50Ms: 0.08 }))
    expect(costOf(of, 'auto')!.latencySeconds).toBeCloseTo(8e-5, 12)
    expect(costOf(profile(cell('uring', 3)), 'auto')!.latencySeconds).toBe(assumedDrive.latencySeconds)
  })
})

test('a duel is won by a tenth in the median and in each round, and never by a cache', () => {
  const passes = (speeds: readonly number[], cached = false): ReadCell[] => speeds.map((gb) => ({ bytesPerSecond: gb * 1e9, cached }) as ReadCell)
  const own = passes([3, 3.1, 2.9])
  expect(judgeDuel(own, passes([3.6, 3.7, 3.5]))).toMatchObject({ won: true, ratio: 3.6 / 3 })
  for (const lost of [passes([5, 5, 2.8]), passes([3.2, 3.2, 3.2]), passes([9, 9, 9], true)]) expect(judgeDuel(own, lost).won).toBe(false)
})
