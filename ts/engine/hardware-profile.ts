/**
 * What was measured of a drive: its bandwidth by way of reading, kept between runs so that plans need not assume.
 *
 * One state file per drive, named after what identifies it (devices, model, serial number, size). A drive that tells none of
 * these shares its file with others of its name, which costs a worse guess and nothing else. Never decides anything but
 * expectations: no token depends on it.
 */
import { createHash } from 'node:crypto'
import { release } from 'node:os'
import { z } from 'zod'
import { type Drive, driveOf } from '../machine/drive.js'
import { nativeLimits } from '../native/layout.gen.js'
import { assumedDrive, type DriveCost } from '../prefetch/cost-model.js'
import type { ReadCell } from './measure-reads.js'
import { readState, writeState } from './state-store.js'

const kind = 'drive-profile'
const cellsMax = 4096
/** A cell that read less is mostly the beginning and the end of its queue. */
const bytesMin = 64 * 2 ** 20
const positive = z.number().positive().finite()

export interface ProfileCell {
  readonly backend: string
  readonly direct: boolean
  readonly blockBytes: number
  readonly depth: number
  readonly bytesPerSecond: number
  /** Of one block. */
  readonly latencyP50Ms: number
  readonly cpuShare: number
  readonly hugePageShare: number
}

export interface DriveProfile {
  readonly version: 1
  /** ISO 8601, UTC. */
  readonly measuredAt: string
  /** Release of the operating system. */
  readonly kernel: string
  readonly drive: string
  readonly cells: readonly ProfileCell[]
}

const cellSchema: z.ZodType<ProfileCell> = z.strictObject({
  backend: z.string().max(32),
  direct: z.boolean(),
  blockBytes: positive,
  depth: positive,
  bytesPerSecond: positive,
  latencyP50Ms: z.number().nonnegative().finite(),
  cpuShare: z.number().nonnegative().finite(),
  hugePageShare: z.number().min(0).max(1),
})
const profileSchema: z.ZodType<DriveProfile> = z.strictObject({
  version: z.literal(1),
  measuredAt: z.iso.datetime(),
  kernel: z.string().max(256),
  drive: z.string().max(256),
  cells: z.array(cellSchema).min(1).max(cellsMax),
})

export interface MeasuredCost {
  readonly cost: DriveCost
  /** False: `cost` is the assumed one. */
  readonly measured: boolean
  /** When it was measured; undefined for an assumed one. */
  readonly measuredAt: string | undefined
  /** A profile that was there and could not be used. */
  readonly warning: string | undefined
}

/** Undefined where a drive cannot be told from another: in memory, behind a network or an overlay. */
function fileName(drive: Drive): string | undefined {
  if (drive.kind !== 'disk' || drive.devices.length === 0) return undefined
  const identity = JSON.stringify([drive.devices, drive.model, drive.serial, drive.sizeBytes, drive.fileSystem])
  return `drives/${createHash('sha256').update(identity).digest('hex').slice(0, 32)}`
}

export function readProfile(path: string): { readonly profile: DriveProfile | undefined; readonly warning: string | undefined } {
  const name = fileName(driveOf(path))
  if (name === undefined) return { profile: undefined, warning: undefined }
  const { value, warning } = readState(name, kind, profileSchema)
  return { profile: value, warning }
}

/**
 * Replaces what was known of the drive that `path` lies on. Cells that the page cache served are left out.
 * @returns why nothing was kept; undefined when it was
 */
export function saveProfile(path: string, cells: readonly ReadCell[], now: Date = new Date()): string | undefined {
  const drive = driveOf(path)
  const name = fileName(drive)
  if (name === undefined) return `what ${path} lies on is no drive that could be recognised again${drive.reason === '' ? '' : ` (${drive.reason})`}`
  const kept = cells.filter(({ cached }) => !cached).slice(0, cellsMax)
  if (kept.length === 0) return 'nothing of it came from the drive'
  if (kept.every(({ bytes }) => bytes < bytesMin)) return `no cell read ${bytesMin >> 20} MiB: the file is too small to know the drive by`
  const profile: DriveProfile = {
    version: 1,
    measuredAt: now.toISOString(),
    kernel: release(),
    drive: drive.name,
    cells: kept.map(({ backend, direct, blockBytes, depth, bytesPerSecond, latencyMs, cpuShare, hugePageShare }) =>
      ({ backend, direct, blockBytes, depth, bytesPerSecond, latencyP50Ms: latencyMs.p50, cpuShare, hugePageShare })),
  }
  return writeState(name, kind, profile)
}

/** The profile's answer for the engine's way of reading, or the assumed drive. Never throws. */
export function driveCostFor(path: string, backend: string = 'auto'): MeasuredCost {
  const { profile, warning } = readProfile(path)
  const cost = profile === undefined ? undefined : costOf(profile, backend)
  return { cost: cost ?? assumedDrive, measured: cost !== undefined, measuredAt: cost === undefined ? undefined : profile!.measuredAt, warning }
}

/** Bandwidth at the engine's block size and depth, or the best cell beside it; latency of the smallest single read. */
export function costOf(profile: DriveProfile, backend: string): DriveCost | undefined {
  const usable = profile.cells.filter((cell) => (backend === 'auto' ? cell.direct : cell.backend === backend))
  const own = usable.filter(({ blockBytes, depth }) => blockBytes === nativeLimits.readBytesMax && depth === nativeLimits.ioDepthDefault)
  const [fastest] = (own.length > 0 ? own : usable).toSorted((a, b) => b.bytesPerSecond - a.bytesPerSecond)
  if (fastest === undefined) return undefined
  const [smallest] = usable.filter(({ depth }) => depth === 1).toSorted((a, b) => a.blockBytes - b.blockBytes)
  const latencySeconds = smallest === undefined ? assumedDrive.latencySeconds : smallest.latencyP50Ms / 1000
  return { bytesPerSecond: fastest.bytesPerSecond, latencySeconds }
}
