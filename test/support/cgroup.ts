/** A memory group for one test: a real limit, the kernel's own peak. Needs root; elsewhere tests skip and say so. */
import { type ControlGroup, createControlGroup } from '../../scripts/control-group.js'

export interface MemoryGroup extends Disposable {
  readonly path: string
  /** Highest usage so far, page cache included. */
  peakBytes(): number
  oomKills(): number
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
