/** A cgroup v1 memory group for one test: a real limit, the kernel's own peak. Needs root; elsewhere tests skip and say so. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface MemoryGroup extends Disposable {
  readonly path: string
  /** Highest usage so far, page cache included. */
  peakBytes(): number
  oomKills(): number
  /** Tries until the kernel takes the new limit: it answers EBUSY while it finds too little to reclaim. Resolves to whether it did. */
  lower(limitBytes: number, withinMs: number): Promise<boolean>
}

const root = '/sys/fs/cgroup/memory'

/** Why groups cannot be made here; undefined where they can. */
export function cgroupObstacle(): string | undefined {
  const probe = join(root, `hypura-probe-${process.pid}`)
  try {
    mkdirSync(probe)
    rmdirSync(probe)
    return undefined
  } catch (error) {
    return `no cgroup v1 memory controller that this user may write (${(error as Error).message})`
  }
}

export function createMemoryGroup(limitBytes: number): MemoryGroup {
  const path = join(root, `hypura-test-${process.pid}-${Math.random().toString(36).slice(2)}`)
  mkdirSync(path)
  writeFileSync(join(path, 'memory.limit_in_bytes'), String(limitBytes))
  return {
    path,
    peakBytes: () => Number(readFileSync(join(path, 'memory.max_usage_in_bytes'), 'utf8')),
    oomKills: () => Number(/oom_kill (\d+)/.exec(readFileSync(join(path, 'memory.oom_control'), 'utf8'))?.[1] ?? 0),
    lower: async (lower, withinMs) => {
      for (const end = performance.now() + withinMs; performance.now() < end; await sleep(200)) {
        try {
          writeFileSync(join(path, 'memory.limit_in_bytes'), String(lower))
          return true
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
        }
      }
      return false
    },
    [Symbol.dispose]: () => rmdirSync(path),
  }
}
