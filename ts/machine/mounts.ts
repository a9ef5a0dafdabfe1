/** What is mounted where: /proc/self/mountinfo. */
import { join } from 'node:path'
import { readText } from './system-files.js'

export interface Mount {
  /** "254:0", as the kernel numbers the file system. */
  readonly device: string
  readonly mountPoint: string
  readonly type: string
  /** "/dev/nvme0n1p2", "server:/export", "tmpfs". */
  readonly source: string
}

/** In order of mounting; empty where the system does not say. Lines that are not as documented are passed over. */
export function readMounts(proc: string): Mount[] {
  return parseMounts(readText(join(proc, 'self/mountinfo')) ?? '')
}

/** Line: id, parent, device, root, mount point, options, any number of tags, "-", type, source, options. */
export function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = []
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ', 2)
    const [, , device, , mountPoint] = (left ?? '').split(' ')
    const [type, source] = (right ?? '').split(' ')
    if (device === undefined || mountPoint === undefined || type === undefined || source === undefined) continue
    mounts.push({ device, mountPoint: unescape(mountPoint), type, source: unescape(source) })
  }
  return mounts
}

/** The mount through which `path` is reached, given the device that the file says it is on. */
export function mountOf(path: string, device: string, mounts: readonly Mount[]): Mount | undefined {
  const above = mounts.filter(({ mountPoint }) => path === mountPoint || path.startsWith(mountPoint.endsWith('/') ? mountPoint : `${mountPoint}/`))
  const same = above.filter((mount) => mount.device === device)
  // Subvolumes have numbers that no mount has: there the path alone decides. Of equally long ones the later covers the earlier.
  return (same.length > 0 || !device.startsWith('0:') ? same : above).reduce<Mount | undefined>((best, mount) => (best === undefined || mount.mountPoint.length >= best.mountPoint.length ? mount : best), undefined)
}

/** Space, tab, newline and backslash are written as three octal digits. */
const unescape = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
