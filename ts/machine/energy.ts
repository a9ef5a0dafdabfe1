/**
 * Energy that the processor packages used, where the system counts it (RAPL) and lets this user read it. Drives are not in it.
 *
 * @see https://docs.kernel.org/power/powercap/powercap.html
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type NotAvailable, readNumber, readText, type SystemFiles, systemFiles } from './system-files.js'

export interface EnergyCounter {
  readonly available: true
  /** "RAPL package-0 + package-1". */
  readonly source: string
  /** Since the counter was made. The hardware's registers wrap within minutes to hours: ask at least once a minute. */
  joules(): number
}

interface Domain {
  readonly folder: string
  readonly name: string
  readonly rangeMicrojoules: number
  last: number
}

export function energyCounter({ sys }: Pick<SystemFiles, 'sys'> = systemFiles): EnergyCounter | NotAvailable {
  const root = join(sys, 'class/powercap')
  const names = entries(root).filter((name) => /^intel-rapl:\d+$/.test(name)).sort()
  if (names.length === 0) return { available: false, reason: 'the system has no energy counter (no RAPL under /sys/class/powercap; usual in virtual machines)' }
  const domains: Domain[] = []
  for (const name of names) {
    const folder = join(root, name)
    const last = readNumber(join(folder, 'energy_uj'))
    const rangeMicrojoules = readNumber(join(folder, 'max_energy_range_uj'))
    if (last === undefined || rangeMicrojoules === undefined) return { available: false, reason: `${folder}/energy_uj may not be read by this user` }
    domains.push({ folder, name: readText(join(folder, 'name'))?.trim() ?? name, rangeMicrojoules, last })
  }
  let microjoules = 0
  return {
    available: true,
    source: `RAPL ${domains.map(({ name }) => name).join(' + ')}`,
    joules() {
      for (const domain of domains) {
        const now = readNumber(join(domain.folder, 'energy_uj')) ?? domain.last
        microjoules += now >= domain.last ? now - domain.last : now + domain.rangeMicrojoules - domain.last
        domain.last = now
      }
      return microjoules / 1e6
    },
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
