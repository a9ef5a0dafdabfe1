/**
 * A control group of its own for one command: a real memory limit, and a real limit on reads, set by the kernel.
 *
 * Speaks version 1 (memory, and blkio for reads) and version 2 (memory and io in one group), whichever has the memory controller
 * here, and says why. Version 2 has been run on fixtures only. Needs root, or a group that this user may write.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, blkio-controller.html and cgroup-v2.html
 */
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { HypuraError } from '../ts/base/errors.js'
import { type GroupFigures, groupFigures, type GroupFolder, memoryGroups } from '../ts/machine/cgroup-memory.js'
import { readNumber, readText, type SystemFiles, systemFiles } from '../ts/machine/system-files.js'

export interface GroupLimits {
  readonly memoryBytes: number
  /** Beside the memory; 0 for none. */
  readonly swapBytes: number
  /** `device`: "254:0", a whole device: the throttle knows no partitions. */
  readonly read?: { readonly device: string; readonly bytesPerSecond: number } | undefined
}

export interface ControlGroup {
  readonly version: 1 | 2
  /** Of the group that limits memory. */
  readonly path: string
  /** Every group to join: a second one where reads are limited by version 1. */
  readonly folders: readonly string[]
  /** Why this version and this place. */
  readonly reason: string
  /** As the kernel took it: whole pages. */
  readonly limitBytes: number
  /** What could not be limited as asked; '' where all was. */
  readonly warning: string
  figures(): GroupFigures | undefined
  /** Ids of the processes in the group and below it. */
  processes(): number[]
  /** Removes the folders; the reason in words where the kernel refuses, normally because processes are left. */
  remove(): string | undefined
}

type Files = Pick<SystemFiles, 'proc' | 'cgroup'>

/** Error: ERR_HYPURA_UNSUPPORTED where no group can be made, ERR_HYPURA_INVALID_ARGUMENT where a group above allows less. Leaves nothing behind then. */
export function createControlGroup(limits: GroupLimits, files: Files = systemFiles): ControlGroup {
  const home = memoryHome(files)
  const name = `hypura-${process.pid}-${Math.random().toString(36).slice(2, 10)}`
  const path = join(home.folder, name)
  const folders = [path]
  const remove = (): string | undefined => removeFolders(folders)
  try {
    mkdirSync(path)
    const warning = home.version === 1 ? limitMemoryV1(path, limits, files) : limitMemoryV2(path, limits, files)
    if (limits.read !== undefined) {
      if (home.version === 1) folders.push(limitReadsV1(name, limits.read, files))
      else limitReadsV2(home.folder, path, limits.read)
    }
    const figures = (): GroupFigures | undefined => groupFigures({ version: home.version, folder: path })
    const limitBytes = figures()?.limitBytes ?? limits.memoryBytes
    return { version: home.version, path, folders, reason: home.reason, limitBytes, warning, figures, processes: () => processesIn(folders), remove }
  } catch (error) {
    remove()
    if (error instanceof HypuraError) throw error
    throw unsupported(`the control group ${path} could not be set up: ${(error as Error).message}`)
  }
}

/**
 * The command line that joins the groups and then becomes `command`: not one of its instructions runs outside.
 * Ends with 125 where a group cannot be joined, 126 and 127 as shells do where the command cannot be run.
 */
export function commandInGroups(folders: readonly string[], command: readonly string[]): [string, ...string[]] {
  if (folders.length === 0) return [command[0]!, ...command.slice(1)]
  const script = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; n=$((n-1)); done; exec "$@"'
  return ['/bin/sh', '-c', script, 'sh', String(folders.length), ...folders, ...command]
}

interface Home {
  readonly version: 1 | 2
  /** The folder in which groups can be made. */
  readonly folder: string
  readonly reason: string
}

/** The first place where the kernel lets us make a group with a memory controller. */
function memoryHome(files: Files): Home {
  const obstacles: string[] = []
  for (const chain of memoryGroups(files)) {
    for (const group of homes(chain)) {
      const obstacle = obstacleTo(group)
      if (obstacle === undefined) {
        const reason = group.version === 1 ? 'the memory controller is mounted as version 1' : 'the unified hierarchy has the memory controller'
        return { version: group.version, folder: group.folder, reason: `${reason}, and ${group.folder} may be written` }
      }
      obstacles.push(`${group.folder}: ${obstacle}`)
    }
  }
  throw unsupported(`no memory limit can be set here (${obstacles.join('; ') || 'no control groups'}). It takes root and a mounted memory controller.`)
}

/**
 * Where to make a group, best first. Version 1: below our own, so that limits above us go on counting, else in the root.
 * Version 2 forbids that a group with processes gives controllers to groups below: beside our own, else in the root.
 */
function homes(chain: readonly GroupFolder[]): GroupFolder[] {
  const own = chain[0]!
  const root = chain.at(-1)!
  return [...new Set([own.version === 1 ? own : (chain[1] ?? own), root])]
}

function obstacleTo({ version, folder }: GroupFolder): string | undefined {
  try {
    if (version === 2) {
      const words = (name: string): string[] => (readText(join(folder, name)) ?? '').trim().split(/\s+/)
      if (!words('cgroup.controllers').includes('memory')) return 'no memory controller of version 2'
      if (!words('cgroup.subtree_control').includes('memory')) writeFileSync(join(folder, 'cgroup.subtree_control'), '+memory')
    } else if (readText(join(folder, 'memory.limit_in_bytes')) === undefined) {
      return 'no memory controller of version 1'
    }
    const probe = join(folder, `hypura-probe-${process.pid}`)
    mkdirSync(probe)
    rmdirSync(probe)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message
  }
}

function limitMemoryV1(folder: string, { memoryBytes, swapBytes }: GroupLimits, files: Files): string {
  const above = limitAboveV1(folder)
  if (above !== undefined && above < memoryBytes) throw allowsLess(above, memoryBytes)
  writeFileSync(join(folder, 'memory.limit_in_bytes'), String(memoryBytes))
  const swap = join(folder, 'memory.memsw.limit_in_bytes')
  if (readText(swap) === undefined) return swapWarning(files, swapBytes)
  writeFileSync(swap, String(memoryBytes + swapBytes)) // memory and swap together, so after the memory
  return ''
}

/** What the groups above leave to a new one, which has no limit of its own yet. */
function limitAboveV1(folder: string): number | undefined {
  const found = /^hierarchical_memory_limit (\d+)$/m.exec(readText(join(folder, 'memory.stat')) ?? '')?.[1]
  return found === undefined ? undefined : Number(found)
}

function limitMemoryV2(folder: string, { memoryBytes, swapBytes }: GroupLimits, files: Files): string {
  for (let above = dirname(folder); readText(join(above, 'memory.max')) !== undefined; above = dirname(above)) {
    const limit = readNumber(join(above, 'memory.max'))
    if (limit !== undefined && limit < memoryBytes) throw allowsLess(limit, memoryBytes)
  }
  writeFileSync(join(folder, 'memory.max'), String(memoryBytes))
  try {
    writeFileSync(join(folder, 'memory.swap.max'), String(swapBytes))
    return ''
  } catch {
    return swapWarning(files, swapBytes)
  }
}

/** /proc/swaps has a line of titles and one per swap area. */
function swapWarning({ proc }: Files, swapBytes: number): string {
  const areas = (readText(join(proc, 'swaps')) ?? '').trim().split('\n').length - 1
  return areas < 1 ? '' : `this kernel does not count swap per group: more than ${swapBytes} bytes may be swapped, to ${areas} swap area${areas === 1 ? '' : 's'}`
}

function limitReadsV1(name: string, { device, bytesPerSecond }: NonNullable<GroupLimits['read']>, { cgroup }: Files): string {
  const root = join(cgroup, 'blkio')
  if (readText(join(root, 'blkio.throttle.read_bps_device')) === undefined) throw unsupported(`reads cannot be limited here: ${root} is no blkio controller with a throttle.`)
  const folder = join(root, name)
  mkdirSync(folder)
  try {
    writeFileSync(join(folder, 'blkio.throttle.read_bps_device'), `${device} ${bytesPerSecond}`)
  } catch (error) {
    rmdirSync(folder)
    throw unsupported(`reads of the device ${device} cannot be limited (${(error as Error).message}).`)
  }
  return folder
}

function limitReadsV2(home: string, folder: string, { device, bytesPerSecond }: NonNullable<GroupLimits['read']>): void {
  try {
    if (!(readText(join(home, 'cgroup.subtree_control')) ?? '').split(/\s+/).includes('io')) writeFileSync(join(home, 'cgroup.subtree_control'), '+io')
    writeFileSync(join(folder, 'io.max'), `${device} rbps=${bytesPerSecond}`)
  } catch (error) {
    throw unsupported(`reads of the device ${device} cannot be limited: the io controller refuses (${(error as Error).message}).`)
  }
}

function processesIn(folders: readonly string[]): number[] {
  const ids = folders.flatMap((folder) => [...processesBelow(folder)])
  return [...new Set(ids)]
}

function* processesBelow(folder: string): Generator<number> {
  for (const line of (readText(join(folder, 'cgroup.procs')) ?? '').split('\n')) {
    // 0 is a process of another pid namespace: as an argument of kill it would mean ourselves.
    if (/^[1-9]\d*$/.test(line) && Number(line) !== process.pid) yield Number(line)
  }
  for (const below of subfolders(folder)) yield* processesBelow(below)
}

function removeFolders(folders: readonly string[]): string | undefined {
  const refusals: string[] = []
  for (const folder of folders) {
    for (const below of subfolders(folder)) removeFolders([below])
    try {
      rmdirSync(folder)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT') refusals.push(`${folder}: ${code}`)
    }
  }
  return refusals.length === 0 ? undefined : refusals.join('; ')
}

function subfolders(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
  } catch {
    return [] // gone
  }
}

const unsupported = (message: string): HypuraError => new HypuraError('ERR_HYPURA_UNSUPPORTED', message)

function allowsLess(above: number, asked: number): HypuraError {
  return new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `${asked} bytes cannot be had: a control group above allows only ${above}. Ask for less.`, { above, asked })
}
