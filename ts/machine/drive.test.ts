// What could break: a report that names a partition, a mapping or the wrong half of an array measures the wrong counters; a file
// in memory or behind a network passes for a drive. How we notice: trees of /proc and /sys as kernels write them, for each way
// in which a file reaches its devices; and this machine's own answer against the counters that a read moves.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { type DeviceNumber, type Drive, driveOf } from './drive.js'
import { fixture } from './fixture.test.helper.js'

const files = fixture()
afterAll(files.remove)

/** `numbers`: the longest path given that `path` begins with says where it lies. */
function drive(path: string, numbers: Record<string, string>, tree: Record<string, string>): Drive {
  const { proc, sys } = files.tree(tree)
  const deviceNumber = (asked: string): DeviceNumber | undefined => {
    const known = Object.keys(numbers).filter((start) => asked.startsWith(start)).sort((a, b) => b.length - a.length)[0]
    if (known === undefined) return undefined
    const [major, minor] = numbers[known]!.split(':').map(Number)
    return { major: major!, minor: minor! }
  }
  return driveOf(path, { proc, sys, deviceNumber })
}

const nvme = {
  'sys/dev/block/259:0': '-> ../../devices/pci0/nvme/nvme0/nvme0n1',
  'sys/dev/block/259:2': '-> ../../devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p2',
  'sys/devices/pci0/nvme/nvme0/nvme0n1/size': '2000409264\n',
  'sys/devices/pci0/nvme/nvme0/nvme0n1/removable': '0\n',
  'sys/devices/pci0/nvme/nvme0/nvme0n1/queue/rotational': '0\n',
  'sys/devices/pci0/nvme/nvme0/nvme0n1/nvme0n1p2/partition': '2\n',
  'sys/devices/pci0/nvme/nvme0/nvme0n1/device': '-> ../../nvme0',
  'sys/devices/pci0/nvme/nvme0/model': 'ACME SSD 1TB            \n',
  'sys/devices/pci0/nvme/nvme0/firmware_rev': '7B2Q\x1b[31m\n',
  'sys/devices/pci0/nvme/nvme0/serial': 'S5GX   \n',
  'sys/devices/pci0/nvme/nvme0/transport': 'pcie\n',
  'sys/block/nvme0n1': '-> ../devices/pci0/nvme/nvme0/nvme0n1',
}

test('a partition is its whole drive, with model, firmware, serial and size', () => {
  expect(drive('/models/a.gguf', { '/': '259:2' }, {
    ...nvme,
    'proc/self/mountinfo': '22 1 0:21 / /proc rw - proc proc rw\n26 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n',
  })).toEqual({
    name: 'nvme0n1', kind: 'disk', fileSystem: 'ext4', mountPoint: '/', devices: ['nvme0n1'], model: 'ACME SSD 1TB', firmware: '7B2Q[31m', serial: 'S5GX',
    rotational: false, removable: false, sizeBytes: 2_000_409_264 * 512, reason: '',
  })
})

const array = {
  'sys/dev/block/253:1': '-> ../../devices/virtual/block/dm-1',
  'sys/devices/virtual/block/dm-1/slaves/md127': '-> ../../md127',
  'sys/devices/virtual/block/md127/slaves/sdb1': '-> ../../../../ata/block/sdb/sdb1',
  'sys/devices/virtual/block/md127/slaves/sda1': '-> ../../../../ata/block/sda/sda1',
  'sys/devices/ata/block/sda/sda1/partition': '1\n',
  'sys/devices/ata/block/sdb/sdb1/partition': '1\n',
  'sys/block/sda/size': '1000\n',
  'sys/block/sda/queue/rotational': '1\n',
  'sys/block/sda/device/model': 'OLD DISK\n',
  'sys/block/sda/device/rev': '1.0\n',
  'sys/block/sdb/size': '2000\n',
  'sys/block/sdb/queue/rotational': '0\n',
  'sys/block/sdb/device/model': 'OLD DISK\n',
}

test('an encrypted volume on an array is both drives; what one of them does not say is not known', () => {
  const found = drive('/home/a b/model.gguf', { '/': '253:1' }, { ...array, 'proc/self/mountinfo': '30 1 253:1 / /home/a\\040b rw - xfs /dev/mapper/home rw\n' })
  expect(found).toMatchObject({ name: 'sda+sdb', kind: 'disk', devices: ['sda', 'sdb'], mountPoint: '/home/a b', model: 'OLD DISK', rotational: true, sizeBytes: 3000 * 512 })
  expect(found.firmware).toBeUndefined()
})

test('a loop is the drive of its backing file, also when that file is on a loop again; a deleted backing file leaves the loop', () => {
  const loops = {
    ...array,
    'sys/dev/block/7:0': '-> ../../devices/virtual/block/loop0',
    'sys/dev/block/7:1': '-> ../../devices/virtual/block/loop1',
    'sys/devices/virtual/block/loop0/loop/backing_file': '/images/inner.img\n',
    'sys/devices/virtual/block/loop1/loop/backing_file': '/raid/outer.img\n',
  }
  expect(drive('/mnt/model.gguf', { '/mnt': '7:0', '/images': '7:1', '/raid': '253:1' }, loops).devices).toEqual(['sda', 'sdb'])
  expect(drive('/mnt/model.gguf', { '/mnt': '7:0' }, loops).devices).toEqual(['loop0'])
  expect(drive('/mnt/model.gguf', { '/mnt': '7:0', '/images': '7:0' }, loops).devices).toEqual(['loop0']) // its own backing file: ends
})

test('a volume with a number of its own is found through the device that is mounted, with all members', () => {
  const tree = {
    ...array,
    'proc/self/mountinfo': '30 1 0:45 /@ / rw - btrfs /dev/sda1 rw\n31 30 0:46 / /data rw - fancyfs pool/data rw\n',
    'sys/class/block/sda1': '-> ../../devices/ata/block/sda/sda1',
    'sys/class/block/sdb1': '-> ../../devices/ata/block/sdb/sdb1',
    'sys/fs/btrfs/features/x': '1',
    'sys/fs/btrfs/0c1/devices/sda1': '',
    'sys/fs/btrfs/0c1/devices/sdb1': '',
  }
  expect(drive('/home/m.gguf', { '/home': '0:52' }, tree)).toMatchObject({ kind: 'disk', fileSystem: 'btrfs', devices: ['sda', 'sdb'], reason: '' })
  expect(drive('/data/m.gguf', { '/data': '0:46' }, tree)).toMatchObject({ name: 'pool/data', kind: 'unknown', devices: [], reason: expect.stringContaining('fancyfs') })
})

describe('what is no drive of this machine says so', () => {
  test.each([
    ['tmpfs', 'memory'], ['nfs4', 'network'], ['fuse.sshfs', 'network'], ['9p', 'network'], ['overlay', 'overlay'], ['fuse.surprise', 'unknown'], ['virtiofs', 'unknown'],
  ])('%s: %s', (type, kind) => {
    const found = drive('/x/m.gguf', { '/x': '0:50' }, { 'proc/self/mountinfo': `40 1 0:50 / /x rw - ${type} source rw\n` })
    expect(found).toMatchObject({ name: 'source', kind, fileSystem: type, devices: [] })
    expect(found.reason).toMatch(/\w+ \w+/)
    expect(found.sizeBytes).toBeUndefined()
  })

  test('memory and networks that look like block devices', () => {
    const block = (name: string, extra = {}): Drive => drive('/x/m', { '/x': '9:9' }, { 'sys/dev/block/9:9': `-> ../../devices/${name}`, [`sys/devices/${name}/size`]: '8\n', ...extra })
    expect(block('zram0').kind).toBe('memory')
    expect(block('nbd3').kind).toBe('network')
    expect(block('nvme1n1', { 'sys/block/nvme1n1/device/transport': 'tcp\n' }).kind).toBe('network')
    expect(block('nvme1n1', { 'sys/block/nvme1n1/device/nvme4/transport': 'rdma\n' }).kind).toBe('network')
    expect(block('nvme1n1', { 'sys/block/nvme1n1/device/nvme4/transport': 'pcie\n' }).kind).toBe('disk')
  })

  test('absent files, hidden lists, and lines that are not as documented', () => {
    expect(drive('/gone', {}, { 'proc/self/mountinfo': '' })).toMatchObject({ kind: 'unknown', fileSystem: undefined, reason: expect.stringContaining('/gone') })
    expect(drive('/x', { '/x': '259:2' }, { 'proc/self/mountinfo': 'rubbish\n1 2 - \n\n - a b\n' })).toMatchObject({ kind: 'unknown', devices: [], reason: expect.stringContaining('259:2') })
    expect(drive('/x', { '/x': '0:7' }, {})).toMatchObject({ kind: 'unknown', mountPoint: undefined, reason: expect.stringContaining('0:7') })
  })
})

test('the mount that covers the others counts, and a folder whose name merely begins alike does not', () => {
  const tree = { 'proc/self/mountinfo': ['1 0 8:1 / / rw - ext4 /dev/root rw', '2 1 0:9 / /mnt rw - tmpfs first rw', '3 1 0:9 / /mnt rw - tmpfs second rw', '4 1 0:9 / /mn rw - tmpfs third rw'].join('\n') }
  expect(drive('/mnt/m', { '/': '0:9' }, tree)).toMatchObject({ name: 'second', mountPoint: '/mnt' })
})

test('this machine names the drive of a file just written, or says why not', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-drive-'))
  try {
    writeFileSync(join(folder, 'x'), 'x')
    const found = driveOf(join(folder, 'x'))
    expect(found.fileSystem).toBeDefined()
    expect(folder.startsWith(found.mountPoint!)).toBe(true)
    expect(found.devices.length > 0).toBe(found.reason === '')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
