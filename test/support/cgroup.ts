/** A memory group for one test: a real limit, the kernel's own peak. Needs root; elsewhere tests skip and say so. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ControlGroup, createControlGroup } from '../../scripts/control-group.js'

export interface MemoryGroup extends Disposable {
  readonly path: string
  /** Highest usage so far, page cache included. */
  peakBytes(): number
  oomKills(): number
  /** Tries until the kernel takes the new limit: it answers EBUSY while it finds too little to reclaim. Resolves to whether it did. */
  lower(limitBytes: number, withinMs: number): Promise<boolean>
}

/** Why groups cannot be made here; undefined where they can. */
export function cgroupObstacle(): string | undefined {
  try {
    createMemoryGroup(2 ** 30)[Symbol.dispose]()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** Without swap. Throws where a figure is asked for that this kernel does not tell. */
export function createMemoryGroup(limitBytes: number): MemoryGroup {
  const group = createControlGroup({ memoryBytes: limitBytes, swapBytes: 0 })
  return {
    path: group.path,
    peakBytes: () => told(group, 'peakBytes'),
    oomKills: () => told(group, 'oomKills'),
    lower: async (lower, withinMs) => {
      for (const end = performance.now() + withinMs; performance.now() < end; await sleep(200)) {
        try {
          writeFileSync(join(group.path, 'memory.limit_in_bytes'), String(lower))
          return true
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
        }
      }
      return false
    },
    [Symbol.dispose]() {
      const refusal = group.remove()
      if (refusal !== undefined) throw new Error(`the group is not removed: ${refusal}`)
    },
  }
}

function told(group: ControlGroup, name: 'peakBytes' | 'oomKills'): number {
  const value = group.figures()?.[name]
  if (value === undefined) throw new Error(`this kernel does not tell ${name} of ${group.path}`)
  return value
}
