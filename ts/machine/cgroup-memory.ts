/**
 * What the memory controller says of a group of processes: its limit, what it holds, its peak and how often it was too small.
 *
 * Both versions of control groups answer, in different words. A group's figures include those of the groups below it, but for
 * the OOM kills of version 1. Page cache is charged to the group that read it first: a file that others have read costs this
 * group nothing.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and cgroup-v2.html
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { namedNumber, type NotAvailable, readNumber, readText, type SystemFiles, systemFiles } from './system-files.js'

export interface GroupFolder {
  readonly version: 1 | 2
  /** As /proc/self/cgroup names it: "/a/b". */
  readonly path: string
  readonly folder: string
}

/** Undefined is what this kernel does not say. */
export interface GroupFigures {
  readonly usageBytes: number
  /** Undefined where the group itself has no limit; one of the groups above may. */
  readonly limitBytes: number | undefined
  /** Version 2: above this the group is slowed down and reclaimed from (memory.high). */
  readonly throttledAboveBytes: number | undefined
  readonly peakBytes: number | undefined
  /** How often an allocation met the limit, so that something had to be given back first. */
  readonly limitHits: number | undefined
  readonly oomKills: number | undefined
  readonly swapBytes: number | undefined
  readonly anonBytes: number | undefined
  /** Page cache, shared memory included. */
  readonly fileBytes: number | undefined
  readonly mappedFileBytes: number | undefined
  /** Page cache that the kernel gives back on demand, without what programs have mapped. */
  readonly reclaimableBytes: number
  readonly majorFaults: number | undefined
}

export interface CgroupMemory extends GroupFigures {
  readonly available: true
  readonly version: 1 | 2
  readonly path: string
}

/** Limits beyond this are "no limit": version 1 writes a number near 2^63. */
const unlimitedBytes = 2 ** 50

/** The group that this process is charged to: its own, or with version 2 the nearest above it that has the memory controller. */
export function cgroupMemory(files: Pick<SystemFiles, 'proc' | 'cgroup'> = systemFiles): CgroupMemory | NotAvailable {
  const chains = memoryGroups(files)
  for (const chain of chains) {
    // A container may see its own group mounted as the root, while the path is the one outside. The groups between are not ours.
    for (const group of existsSync(chain[0]!.folder) ? chain : chain.slice(-1)) {
      const figures = groupFigures(group)
      if (figures !== undefined) return { available: true, version: group.version, path: group.path, ...figures }
    }
  }
  const reason = chains.length === 0
    ? 'this process is in no control group: /proc/self/cgroup is absent or empty'
    : `no memory controller accounts for ${chains[0]![0]!.path}, the control group that this process is in`
  return { available: false, reason }
}

/** The groups that this process is in and that could have a memory limit, one list per place to look, each from its own group up to the root. */
export function memoryGroups({ proc, cgroup }: Pick<SystemFiles, 'proc' | 'cgroup'>): GroupFolder[][] {
  const chains: GroupFolder[][] = []
  for (const line of (readText(join(proc, 'self/cgroup')) ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    if (controllers.split(',').includes('memory')) chains.push(upward(1, join(cgroup, 'memory'), path))
    else if (controllers === '') chains.push(upward(2, cgroup, path), upward(2, join(cgroup, 'unified'), path))
  }
  return chains
}

function upward(version: 1 | 2, root: string, path: string): GroupFolder[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..')
  return Array.from({ length: parts.length + 1 }, (_, up) => parts.slice(0, parts.length - up))
    .map((names) => ({ version, path: `/${names.join('/')}`, folder: join(root, ...names) }))
}

/** Undefined where the group is not accounted for: no such group, or the root of version 2. */
export function groupFigures({ version, folder }: Pick<GroupFolder, 'version' | 'folder'>): GroupFigures | undefined {
  return version === 1 ? figuresV1(folder) : figuresV2(folder)
}

function figuresV1(folder: string): GroupFigures | undefined {
  const usageBytes = readNumber(join(folder, 'memory.usage_in_bytes'))
  if (usageBytes === undefined) return undefined
  const limitBytes = limit(readNumber(join(folder, 'memory.limit_in_bytes')))
  const peakBytes = readNumber(join(folder, 'memory.max_usage_in_bytes'))
  const stat = readText(join(folder, 'memory.stat')) ?? ''
  return {
    usageBytes,
    limitBytes,
    throttledAboveBytes: undefined,
    peakBytes,
    limitHits: hitsV1(folder, limitBytes, peakBytes),
    oomKills: namedNumber(readText(join(folder, 'memory.oom_control')) ?? '', 'oom_kill'),
    swapBytes: namedNumber(stat, 'total_swap'),
    anonBytes: namedNumber(stat, 'total_rss'),
    fileBytes: namedNumber(stat, 'total_cache'),
    mappedFileBytes: namedNumber(stat, 'total_mapped_file'),
    reclaimableBytes: reclaimable(stat, ['total_inactive_file', 'total_active_file'], 'total_mapped_file'),
    majorFaults: namedNumber(stat, 'total_pgmajfault'),
  }
}

/**
 * An allocation meets one of two limits: of memory and swap together, where the kernel counts swap, else of memory. Some
 * kernels count hits of the second only (seen with 6.18): a peak at the limit without a hit is an answer that is not given.
 */
function hitsV1(folder: string, limitBytes: number | undefined, peakBytes: number | undefined): number | undefined {
  const memory = readNumber(join(folder, 'memory.failcnt'))
  if (memory === undefined) return undefined
  const hits = memory + (readNumber(join(folder, 'memory.memsw.failcnt')) ?? 0)
  return hits === 0 && limitBytes !== undefined && peakBytes !== undefined && peakBytes >= limitBytes ? undefined : hits
}

function figuresV2(folder: string): GroupFigures | undefined {
  const usageBytes = readNumber(join(folder, 'memory.current'))
  if (usageBytes === undefined) return undefined
  const stat = readText(join(folder, 'memory.stat')) ?? ''
  const events = readText(join(folder, 'memory.events')) ?? ''
  return {
    usageBytes,
    limitBytes: limit(readNumber(join(folder, 'memory.max'))),
    throttledAboveBytes: limit(readNumber(join(folder, 'memory.high'))),
    peakBytes: readNumber(join(folder, 'memory.peak')), // since Linux 5.19
    limitHits: namedNumber(events, 'max'),
    oomKills: namedNumber(events, 'oom_kill'),
    swapBytes: readNumber(join(folder, 'memory.swap.current')),
    anonBytes: namedNumber(stat, 'anon'),
    fileBytes: namedNumber(stat, 'file'),
    mappedFileBytes: namedNumber(stat, 'file_mapped'),
    reclaimableBytes: reclaimable(stat, ['inactive_file', 'active_file'], 'file_mapped'),
    majorFaults: namedNumber(stat, 'pgmajfault'),
  }
}

const limit = (bytes: number | undefined): number | undefined => (bytes !== undefined && bytes < unlimitedBytes ? bytes : undefined)

function reclaimable(stat: string, files: readonly string[], mapped: string): number {
  const bytes = files.reduce((sum, name) => sum + (namedNumber(stat, name) ?? 0), 0)
  return Math.max(0, bytes - (namedNumber(stat, mapped) ?? 0))
}
