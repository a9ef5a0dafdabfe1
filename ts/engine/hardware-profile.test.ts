// What could break: a profile of one drive is believed of another, a stale or false one decides plans, memory and networks get
// profiles. How we notice: drives that differ in one property, files under the wrong name, and a plan that asks.
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { modelPath } from '../../test/support/run-cli.js'
import { type Drive, driveOf } from '../machine/drive.js'
import { assumedDrive } from '../prefetch/cost-model.js'
import { driveCostFor, identityOf, readDriveProfile, saveDriveProfile } from './hardware-profile.js'
import { planModel } from './plan-model.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-profile-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const nvme: Drive = {
  name: 'nvme0n1', kind: 'disk', fileSystem: 'ext4', mountPoint: '/', devices: ['nvme0n1'], model: 'ACME 1TB', firmware: '7', serial: 'S1', rotational: false,
  removable: false, sizeBytes: 1e12, reason: '',
}
const profile = {
  measuredAt: 1_700_000_000_000, hypura: '0.1.0', cost: { bytesPerSecond: 4e9, latencySeconds: 8e-5 },
  cells: [{ backend: 'uring', direct: true, blockBytes: 4194304, depth: 8, bytesPerSecond: 4e9, latencySeconds: 0.008 }],
}

test('a drive keeps its identity under another name, firmware and mount point; another drive, size or file system has another', () => {
  const same = identityOf(nvme)
  expect(identityOf({ ...nvme, name: 'nvme1n1', devices: ['nvme1n1'], mountPoint: '/mnt', firmware: '8' })).toBe(same)
  for (const other of [{ serial: 'S2' }, { model: 'ACME 2TB' }, { sizeBytes: 2e12 }, { fileSystem: 'btrfs' }]) expect(identityOf({ ...nvme, ...other })).not.toBe(same)
  const virtual = { ...nvme, serial: undefined, name: 'vda' }
  expect(identityOf({ ...virtual, name: 'vdb' })).not.toBe(identityOf(virtual))
})

test('what is no drive, or could not be recognised, has no identity and no profile', () => {
  for (const kind of ['memory', 'network', 'overlay'] as const) expect(saveDriveProfile({ ...nvme, kind }, profile, folder)).toBeUndefined()
  expect(identityOf({ ...nvme, kind: 'unknown', fileSystem: undefined })).toBeUndefined()
  expect(identityOf({ ...nvme, kind: 'unknown', fileSystem: 'zfs', serial: undefined, name: 'tank/models' })).toBeDefined()
})

test('a profile is found again by its drive only, also when its file gets another drive\'s name', () => {
  const path = saveDriveProfile(nvme, profile, folder)!
  expect(readDriveProfile(nvme, folder).profile).toMatchObject({ ...profile, name: 'nvme0n1' })
  const other = { ...nvme, serial: 'S2' }
  expect(readDriveProfile(other, folder)).toEqual({ profile: undefined, warning: undefined })
  const otherPath = saveDriveProfile(other, profile, folder)!
  cpSync(path, otherPath)
  expect(readDriveProfile(other, folder).profile).toBeUndefined()
  expect(readdirSync(folder)).toHaveLength(2)
})

test('impossible figures are never written, and plans are made with what was measured, with a warning when it cannot be read', async () => {
  for (const bytesPerSecond of [NaN, Infinity, -1, 0, 1e15]) expect(() => saveDriveProfile(nvme, { ...profile, cost: { bytesPerSecond, latencySeconds: 1e-4 } }, folder)).toThrow()
  const model = modelPath('fable-moe-q8_0.gguf')
  const drive = driveOf(model)
  expect(driveCostFor(model, folder)).toMatchObject({ ...assumedDrive, source: 'assumed', measuredAt: undefined, warning: undefined })
  const path = saveDriveProfile(drive, profile, folder)
  if (path === undefined) return // the checkout lies in memory or on an overlay
  expect(driveCostFor(model, folder)).toMatchObject({ ...profile.cost, source: 'measured', measuredAt: new Date(profile.measuredAt), name: drive.name })

  const before = process.env['HYPURA_STATE_DIR']
  process.env['HYPURA_STATE_DIR'] = folder
  try {
    const plan = await planModel(model, { memory: '16MiB' })
    expect(plan.expectation().tokensPerSecond).toEqual(plan.expectation(profile.cost).tokensPerSecond)
    expect(plan.expectation().tokensPerSecond.low).toBeGreaterThan(plan.expectation(assumedDrive).tokensPerSecond.low)
    expect(plan.steps()).toEqual(plan.steps(profile.cost))
    writeFileSync(path, 'HYST and then nothing')
    const warned = await planModel(model, { memory: '16MiB' })
    expect(warned.warnings.filter((text) => text.includes(path))).toHaveLength(1)
    expect(warned.drive.source).toBe('assumed')
  } finally {
    process.env['HYPURA_STATE_DIR'] = before
  }
})
