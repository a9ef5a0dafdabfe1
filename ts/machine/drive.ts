/**
 * Which drive a file lies on: from the file's device number through partitions, mappings, arrays and loops down to the
 * devices that do the work.
 *
 * Asks the kernel's own lists only and needs no rights. What they do not show (a container without /sys, an overlay, a
 * network) is undefined, with the reason in words.
 *
 * @see proc(5), /proc/[pid]/mountinfo; https://docs.kernel.org/admin-guide/sysfs-rules.html; Documentation/ABI/stable/sysfs-block
 */
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Mount, mountOf, readMounts } from './mounts.js'
import { readNumber, readText, type SystemFiles, systemFiles } from './system-files.js'

export type DriveKind = 'disk' | 'memory' | 'network' | 'overlay' | 'unknown'

export interface Drive {
  /** The physical devices, joined by "+"; else what is mounted. */
  readonly name: string
  readonly kind: DriveKind
  readonly fileSystem: string | undefined
  readonly mountPoint: string | undefined
  /** Whole physical devices as /sys/block names them: "nvme0n1", never a partition or a mapping. */
  readonly devices: readonly string[]
  /** Of several devices: the distinct values, joined by "+". */
  readonly model: string | undefined
  readonly firmware: string | undefined
  readonly serial: string | undefined
  /** True where the kernel says so of one of the devices. Many virtual drives claim to rotate. */
  readonly rotational: boolean | undefined
  readonly removable: boolean | undefined
  /** Of all devices together. */
  readonly sizeBytes: number | undefined
  /** Why devices or kind are not known; '' where they are. */
  readonly reason: string
}

export interface DeviceNumber {
  readonly major: number
  readonly minor: number
}

/** Tests pass a tree of their own and say what lies on which device. */
export interface DriveFiles extends Pick<SystemFiles, 'proc' | 'sys'> {
  /** Undefined for a path that is absent. */
  readonly deviceNumber: (path: string) => DeviceNumber | undefined
}
const driveFiles: DriveFiles = { ...systemFiles, deviceNumber }

/** Mappings on arrays on loops on mappings: nobody stacks more, and a loop may be its own backing file's drive. */
const stackedDevicesMax = 8

/** The drive that holds a file or folder, or that a device's own file (/dev/nvme0n1) stands for. Never throws: an absent one is unknown. */
export function driveOf(path: string, files: DriveFiles = driveFiles): Drive {
  const number = files.deviceNumber(path)
  if (number === undefined) return describe(files, undefined, [], 'unknown', `${path} does not exist or may not be read`)
  const device = `${number.major}:${number.minor}`
  const mount = mountOf(resolved(path) ?? path, device, readMounts(files.proc))
  if (number.major !== 0) {
    const devices = physicalDevices(files, join(files.sys, 'dev/block', device))
    const reason = devices.length === 0 ? `/sys does not show the device ${device}` : ''
    return describe(files, mount, devices, kindOfDevices(files, devices), reason)
  }
  const kind = kindOfFileSystem(mount?.type)
  if (kind === 'overlay') return describe(files, mount, [], kind, 'an overlay does not say which of its layers holds a file')
  if (kind !== undefined) return describe(files, mount, [], kind, kind === 'memory' ? 'the file lies in memory' : 'the drive is in another machine')
  // Btrfs and its like number their volumes themselves; the mount still names a device.
  const devices = mount === undefined ? [] : devicesOfMount(files, mount)
  const reason = devices.length === 0 ? `the file system ${mount?.type ?? device} does not say which device holds a file` : ''
  return describe(files, mount, devices, kindOfDevices(files, devices), reason)
}

/** As /sys/dev/block counts; the kernel's 12 + 20 bits, as the C library packs them. */
function deviceNumber(path: string): DeviceNumber | undefined {
  try {
    const stats = statSync(path, { bigint: true })
    const dev = stats.isBlockDevice() ? stats.rdev : stats.dev
    return {
      major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
      minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
    }
  } catch {
    return undefined
  }
}

function physicalDevices(files: DriveFiles, link: string, depth = 0): string[] {
  const folder = resolved(link)
  if (folder === undefined || depth > stackedDevicesMax) return []
  if (readText(join(folder, 'partition')) !== undefined) return physicalDevices(files, dirname(folder), depth + 1)
  const slaves = entries(join(folder, 'slaves'))
  if (slaves.length > 0) return [...new Set(slaves.flatMap((name) => physicalDevices(files, join(folder, 'slaves', name), depth + 1)))].sort()
  const backing = readText(join(folder, 'loop/backing_file'))?.trim()
  const below = backing === undefined ? undefined : files.deviceNumber(backing)
  if (below !== undefined) {
    const devices = physicalDevices(files, join(files.sys, 'dev/block', `${below.major}:${below.minor}`), depth + 1)
    if (devices.length > 0) return devices
  }
  return [basename(folder)]
}

function devicesOfMount(files: DriveFiles, { source, type }: Mount): string[] {
  if (!source.startsWith('/dev/')) return []
  const name = basename(resolved(source) ?? source)
  const volumes = type === 'btrfs' ? entries(join(files.sys, 'fs/btrfs')).map((id) => entries(join(files.sys, 'fs/btrfs', id, 'devices'))) : []
  const members = volumes.find((names) => names.includes(name)) ?? [name]
  return [...new Set(members.flatMap((member) => physicalDevices(files, join(files.sys, 'class/block', member))))].sort()
}

const memoryTypes = /^(?:tmpfs|ramfs|devtmpfs|hugetlbfs)$/
const networkTypes = /^(?:nfs4?|cifs|smb3|smbfs|9p|ceph|afs|lustre|gpfs|beegfs|fuse\.(?:sshfs|s3fs|rclone|gcsfuse|glusterfs|goofys|juicefs|davfs|mount-s3|blobfuse2?))$/

function kindOfFileSystem(type: string | undefined): DriveKind | undefined {
  if (type === undefined) return undefined
  if (type === 'overlay' || type === 'aufs') return 'overlay'
  return memoryTypes.test(type) ? 'memory' : networkTypes.test(type) ? 'network' : undefined
}

function kindOfDevices({ sys }: DriveFiles, devices: readonly string[]): DriveKind {
  if (devices.length === 0) return 'unknown'
  if (devices.some((name) => /^(?:zram|ram)\d/.test(name))) return 'memory'
  const isRemote = (name: string): boolean => {
    const device = join(sys, 'block', name, 'device')
    // Of an NVMe drive with several paths, the device is a subsystem and the controllers lie in it.
    const controllers = ['.', ...entries(device).filter((entry) => /^nvme\d+$/.test(entry))]
    const transports = controllers.map((controller) => readText(join(device, controller, 'transport'))?.trim() ?? '')
    return /^(?:nbd|rbd|drbd)\d/.test(name) || transports.some((transport) => /^(?:tcp|rdma|fc)$/.test(transport))
  }
  return devices.some(isRemote) ? 'network' : 'disk'
}

function describe({ sys }: DriveFiles, mount: Mount | undefined, devices: readonly string[], kind: DriveKind, reason: string): Drive {
  const at = (name: string, file: string): string => join(sys, 'block', name, file)
  const texts = (...candidates: string[]): string | undefined => {
    // The drive's own words, or a stick's: nothing that a terminal would obey.
    const word = (path: string): string | undefined => readText(path)?.replace(/[^\x20-\x7e]/g, '').trim()
    const values = devices.map((name) => candidates.map((file) => word(at(name, file))).find((text) => text !== undefined && text !== ''))
    return values.length === 0 || values.includes(undefined) ? undefined : [...new Set(values)].join('+')
  }
  const flag = (file: string): boolean | undefined => {
    const values = devices.map((name) => readNumber(at(name, file)))
    return values.length === 0 || values.includes(undefined) ? undefined : values.some((value) => value === 1)
  }
  const sectors = devices.map((name) => readNumber(at(name, 'size')))
  return {
    name: devices.length > 0 ? devices.join('+') : mount?.source ?? 'unknown',
    kind,
    fileSystem: mount?.type,
    mountPoint: mount?.mountPoint,
    devices,
    model: texts('device/model', 'device/name'), // the latter: memory cards
    firmware: texts('device/firmware_rev', 'device/rev', 'device/fwrev'),
    serial: texts('device/serial', 'serial'), // the latter: virtio
    rotational: flag('queue/rotational'),
    removable: flag('removable'),
    // In sectors of 512 bytes, whatever the drive's own are.
    sizeBytes: sectors.length === 0 || sectors.includes(undefined) ? undefined : sectors.reduce<number>((sum, count) => sum + count! * 512, 0),
    reason,
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function resolved(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}
