/**
 * Pressure stall information: how long processes waited for memory, of the machine and of this process's own group (version 2).
 *
 * The kernel's averages take ten seconds to rise and as long to fall; the running total tells of the last second, so two looks
 * are compared.
 *
 * @see https://docs.kernel.org/accounting/psi.html
 */
import { join } from 'node:path'
import { memoryGroups } from './cgroup-memory.js'
import { readText, type SystemFiles, systemFiles } from './system-files.js'

export interface StallTotal {
  /** As MemoryLimit.source: "machine", or "cgroup /path". */
  readonly source: string
  /** Microseconds in which at least one process waited for memory. */
  readonly someUs: number
}

/** Empty where the kernel does not say. */
export function memoryStalls(files: Pick<SystemFiles, 'proc' | 'cgroup'> = systemFiles): StallTotal[] {
  const own = memoryGroups(files).flatMap((chain) => chain.slice(0, 1)).filter(({ version }) => version === 2)
  return [
    ...stallsIn('machine', join(files.proc, 'pressure/memory')),
    ...own.flatMap(({ path, folder }) => stallsIn(`cgroup ${path}`, join(folder, 'memory.pressure'))),
  ]
}

function stallsIn(source: string, path: string): StallTotal[] {
  const [, total] = /^some .*\btotal=(\d+)$/m.exec(readText(path) ?? '') ?? []
  return total === undefined ? [] : [{ source, someUs: Number(total) }]
}
