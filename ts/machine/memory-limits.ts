/**
 * How much memory this process may use: the least of what the machine has free and what its cgroups allow.
 *
 * Reads /proc/meminfo and the memory controllers of cgroup v1 and v2 from the process's own group up to the root (a limit
 * anywhere above counts). Page cache that a group holds is counted as free, since the kernel gives it back on demand, but for
 * what programs have mapped: that is their code, and would be read again and again.
 */
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { groupFigures, memoryGroups } from './cgroup-memory.js'
import { namedNumber, readText, type SystemFiles, systemFiles } from './system-files.js'

export interface MemoryLimit {
  /** "machine", or the cgroup's path. */
  readonly source: string
  readonly limitBytes: number
  /** What could still be allocated before the limit, page cache counted as free. */
  readonly availableBytes: number
}

/** Where the files are; tests pass a folder with fixtures. */
export type MemoryFiles = Pick<SystemFiles, 'proc' | 'cgroup'>

/** Every limit that applies, the machine's first. Never empty. */
export function memoryLimits(files: MemoryFiles = systemFiles): MemoryLimit[] {
  return [machineLimit(files), ...cgroupLimits(files)]
}

/** The limit with the least left. */
export function tightestLimit(limits: readonly MemoryLimit[]): MemoryLimit {
  return limits.reduce((least, limit) => (limit.availableBytes < least.availableBytes ? limit : least))
}

/**
 * What stays free under a limit: a twentieth and a little, for the growth of the JavaScript heap, thread stacks and the kernel's
 * own accounting.
 */
export function headRoomBytes({ limitBytes }: MemoryLimit): number {
  return Math.max(limitBytes * 0.05, 32 * 2 ** 20) + 48 * 2 ** 20
}

/** What `--memory auto` may place, so that the whole process stays under `limit` by the head-room. */
export function autoBudgetBytes(limit: MemoryLimit): number {
  return Math.max(0, Math.floor(limit.availableBytes - headRoomBytes(limit)))
}

function machineLimit({ proc }: MemoryFiles): MemoryLimit {
  const meminfo = readText(join(proc, 'meminfo')) ?? ''
  const total = namedNumber(meminfo, 'MemTotal') ?? totalmem()
  return { source: 'machine', limitBytes: total, availableBytes: namedNumber(meminfo, 'MemAvailable') ?? total / 2 }
}

function cgroupLimits(files: MemoryFiles): MemoryLimit[] {
  const limits: MemoryLimit[] = []
  for (const group of memoryGroups(files).flat()) {
    const figures = groupFigures(group)
    if (figures === undefined) continue
    const ceilings = [figures.limitBytes, figures.throttledAboveBytes].filter((bytes) => bytes !== undefined)
    if (ceilings.length === 0) continue
    const limitBytes = Math.min(...ceilings)
    const used = Math.max(0, figures.usageBytes - figures.reclaimableBytes)
    limits.push({ source: `cgroup ${group.path}`, limitBytes, availableBytes: Math.max(0, limitBytes - used) })
  }
  return limits
}
