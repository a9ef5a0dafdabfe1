/** The physical drive behind a device number, as far as Linux tells: two partitions of one disk are one drive. */
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Layers of mapped devices (encryption, volumes) that are looked through. */
const layersMax = 8

/** @param device st_dev of a file. Returns a name to compare and to show; a device that the system does not explain is a drive of its own. */
export function driveOf(device: bigint): string {
  const [major, minor] = deviceNumbers(device)
  try {
    let folder = realpathSync(`/sys/dev/block/${major}:${minor}`)
    for (let layer = 0; layer < layersMax; layer++) {
      if (existsSync(join(folder, 'partition'))) folder = dirname(folder)
      const below = slavesOf(folder)
      if (below.length !== 1) break
      folder = realpathSync(join(folder, 'slaves', below[0]!))
    }
    return basename(folder)
  } catch {
    return `device ${major}:${minor}` // btrfs, overlays, network: no block device of that number
  }
}

/** As the C library puts them together: 12 bits of major and 8 of minor low, the rest above. */
function deviceNumbers(device: bigint): readonly [major: bigint, minor: bigint] {
  return [(device >> 8n & 0xfffn) | (device >> 32n & ~0xfffn), (device & 0xffn) | (device >> 12n & 0xffffff00n)]
}

function slavesOf(folder: string): string[] {
  const path = join(folder, 'slaves')
  return existsSync(path) ? readdirSync(path) : []
}
