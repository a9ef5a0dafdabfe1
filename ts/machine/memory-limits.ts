/**
 * How much memory this process may use: the least of what the machine has free and what its cgroups allow.
 *
 * Reads /proc/meminfo and the memory controllers of cgroup v1 and v2 from the process's own group up to the root (a limit
 * anywhere above counts). Page cache that a group holds is counted as free, since the kernel gives it back on demand, but for
 * what programs have mapped: that is their code, and would be read again and again.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and cgroup-v2.html
 */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'

export interface MemoryLimit {
  /** "machine", or the cgroup's path. */
  readonly source: string
  readonly limitBytes: number
  /** What could still be allocated before the limit, page cache counted as free. */
  readonly availableBytes: number
}

/** Where the files are; tests pass a folder with fixtures. */
export interface MemoryFiles {
  readonly proc: string
  readonly cgroup: string
}
const systemFiles: MemoryFiles = { proc: '/proc', cgroup: '/sys/fs/cgroup' }

/** Limits beyond this are "no limit": cgroup v1 writes a number near 2^63. */
const unlimitedBytes = 2 ** 50

/** Every limit that applies, the machine's first. Never empty. */
export function memoryLimits(files: MemoryFiles = systemFiles): MemoryLimit[] {
  return [machineLimit(files), ...cgroupLimits(files)]
}

/** The limit with the least left. */
export function tightestLimit(limits: readonly MemoryLimit[]): MemoryLimit {
  return limits.reduce((least, limit) => (limit.availableBytes < least.availableBytes ? limit : least))
}

/**
 * What `--memory auto` may place, so that the whole process stays under `limit` by a twentieth: the head-room covers the
 * growth of the JavaScript heap, thread stacks and the kernel's own accounting.
 */
export function autoBudgetBytes(limit: MemoryLimit): number {
  const headRoom = Math.max(limit.limitBytes * 0.05, 32 * 2 ** 20) + 48 * 2 ** 20
  return Math.max(0, Math.floor(limit.availableBytes - headRoom))
}

function machineLimit({ proc }: MemoryFiles): MemoryLimit {
  const meminfo = readText(join(proc, 'meminfo')) ?? ''
  const kib = (name: string): number | undefined => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo)
    return found === null ? undefined : Number(found[1]) * 1024
  }
  const total = kib('MemTotal') ?? totalmem()
  return { source: 'machine', limitBytes: total, availableBytes: kib('MemAvailable') ?? total / 2 }
}

function cgroupLimits({ proc, cgroup }: MemoryFiles): MemoryLimit[] {
  const limits: MemoryLimit[] = []
  for (const line of (readText(join(proc, 'self/cgroup')) ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    if (controllers.split(',').includes('memory')) limits.push(...groupsUpward(join(cgroup, 'memory'), path, v1Limit))
    else if (controllers === '') limits.push(...groupsUpward(cgroup, path, v2Limit), ...groupsUpward(join(cgroup, 'unified'), path, v2Limit))
  }
  return limits
}

function groupsUpward(root: string, path: string, read: (folder: string) => Omit<MemoryLimit, 'source'> | undefined): MemoryLimit[] {
  const limits: MemoryLimit[] = []
  const parts = path.split('/').filter((part) => part !== '' && part !== '..')
  for (let depth = parts.length; depth >= 0; depth--) {
    const source = '/' + parts.slice(0, depth).join('/')
    const limit = read(join(root, source))
    if (limit !== undefined && limit.limitBytes < unlimitedBytes) limits.push({ source: `cgroup ${source}`, ...limit })
  }
  return limits
}

function v1Limit(folder: string): Omit<MemoryLimit, 'source'> | undefined {
  const limitBytes = readNumber(join(folder, 'memory.limit_in_bytes'))
  const used = readNumber(join(folder, 'memory.usage_in_bytes'))
  if (limitBytes === undefined || used === undefined) return undefined
  const stat = readText(join(folder, 'memory.stat')) ?? ''
  const cache = Math.max(0, statValue(stat, 'total_inactive_file') + statValue(stat, 'total_active_file') - statValue(stat, 'total_mapped_file'))
  return { limitBytes, availableBytes: Math.max(0, limitBytes - Math.max(0, used - cache)) }
}

function v2Limit(folder: string): Omit<MemoryLimit, 'source'> | undefined {
  const ceilings = ['memory.max', 'memory.high'].map((name) => readNumber(join(folder, name))).filter((value) => value !== undefined)
  const used = readNumber(join(folder, 'memory.current'))
  if (ceilings.length === 0 || used === undefined) return undefined
  const limitBytes = Math.min(...ceilings)
  const stat = readText(join(folder, 'memory.stat')) ?? ''
  const cache = Math.max(0, statValue(stat, 'inactive_file') + statValue(stat, 'active_file') - statValue(stat, 'file_mapped'))
  return { limitBytes, availableBytes: Math.max(0, limitBytes - Math.max(0, used - cache)) }
}

function statValue(stat: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0)
}

/** A number in a file of its own; undefined for a missing file and for "max". */
function readNumber(path: string): number | undefined {
  const text = readText(path)?.trim()
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text)
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // absent on this system: the other sources still count
  }
}
