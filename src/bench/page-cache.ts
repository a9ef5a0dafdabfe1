/** Drops a file's pages from the page cache before a cold start, and says whether they went. */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { bytes } from '../format.js'

export interface Dropped {
  readonly dropped: boolean
  /** What was done, or why it could not be. */
  readonly reason: string
}

/** A page that somebody maps or writes stays; so does a little read-ahead. */
const leftShareMax = 0.02
const toolMs = 60_000

/** Asks with coreutils' dd (posix_fadvise through nocache), which needs no rights, and checks with util-linux' fincore. */
export function dropPages(paths: readonly string[]): Dropped {
  for (const path of paths) {
    const { status, error, stderr } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none'], { encoding: 'utf8', timeout: toolMs })
    if (status !== 0) return { dropped: false, reason: `the program dd could not drop the file's pages (${error?.message ?? stderr.trim()})` }
  }
  let left = 0
  let size = 0
  for (const path of paths) {
    const resident = residentBytes(path)
    if (resident === undefined) return { dropped: true, reason: 'the system was told to; what stayed is not known (no program fincore)' }
    left += resident
    size += statSync(path).size
  }
  return left > size * leftShareMax
    ? { dropped: false, reason: `${bytes(left)} of the file stayed in the page cache` }
    : { dropped: true, reason: `${bytes(left)} stayed` }
}

function residentBytes(path: string): number | undefined {
  const { status, stdout } = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', path], { encoding: 'utf8', timeout: toolMs })
  return status === 0 && /^\s*\d+\s*$/.test(stdout) ? Number(stdout) : undefined
}
