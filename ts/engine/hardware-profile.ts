/**
 * What was measured of a drive, remembered under its identity, so that plans are made with its speed instead of an assumed one.
 *
 * One file per drive: two measurements at once cannot lose each other's.
 */
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import { z } from 'zod'
import { type Drive, driveOf } from '../machine/drive.js'
import { assumedDrive, type DriveCost } from '../prefetch/cost-model.js'
import { readState, type StateKind, stateFolder, writeState } from './state-store.js'

/** One point of the curve. */
export interface ProfileCell {
  readonly backend: string
  readonly direct: boolean
  readonly blockBytes: number
  readonly depth: number
  readonly bytesPerSecond: number
  /** Of one block, the median. */
  readonly latencySeconds: number
}

export interface DriveProfile {
  /** See identityOf(). */
  readonly identity: string
  /** For people. */
  readonly name: string
  /** Milliseconds since 1970. */
  readonly measuredAt: number
  /** Of the program that measured. */
  readonly hypura: string
  /** What plans are made with: the engine's own way of reading. */
  readonly cost: DriveCost
  readonly cells: readonly ProfileCell[]
}

/** What reading from a path costs, and how that is known. */
export interface KnownDriveCost extends DriveCost {
  readonly source: 'measured' | 'assumed'
  /** Undefined when assumed. */
  readonly measuredAt: Date | undefined
  /** Of the drive. */
  readonly name: string
  /** Why a profile that is there was ignored. */
  readonly warning: string | undefined
}

/** Beyond these no drive is, so a file that says so is wrong. */
const bytesPerSecond = z.number().min(1e3).max(1e12)
const latencySeconds = z.number().min(0).max(100)
const text = z.string().max(1024)
const kind: StateKind<DriveProfile> = {
  id: 1,
  version: 1,
  schema: z.strictObject({
    identity: text,
    name: text,
    measuredAt: z.number().int().min(0).max(8.64e15),
    hypura: text,
    cost: z.strictObject({ bytesPerSecond, latencySeconds }),
    cells: z.array(z.strictObject({
      backend: text, direct: z.boolean(), blockBytes: z.number().int().min(1).max(2 ** 32), depth: z.number().int().min(1).max(65_536), bytesPerSecond, latencySeconds,
    })).max(4096),
  }),
}

/**
 * What stays the same when a machine starts again: serial number and model; without a serial number (virtual drives) the
 * machine's name, the drive's name and its size. The file system is part of it, because some compress or copy.
 * Undefined where speed belongs to nothing that could be recognised: memory, a network, an overlay, an unknown place.
 */
export function identityOf(drive: Drive): string | undefined {
  if (drive.kind !== 'disk' && !(drive.kind === 'unknown' && drive.fileSystem !== undefined)) return undefined
  const parts = drive.serial === undefined ? [hostname(), drive.name, drive.model, drive.sizeBytes] : [drive.serial, drive.model, drive.sizeBytes]
  return [drive.fileSystem, ...parts].map((part) => String(part ?? '')).join('|')
}

/** Returns the path of the file; undefined when this drive cannot be recognised, or nothing is to be remembered. Errors: ERR_HYPURA_IO. */
export function saveDriveProfile(drive: Drive, profile: Omit<DriveProfile, 'identity' | 'name'>, folder: string | undefined = stateFolder()): string | undefined {
  const identity = identityOf(drive)
  return identity === undefined ? undefined : writeState(kind, fileName(identity), { identity, name: drive.name, ...profile }, folder)
}

export interface FoundProfile {
  readonly profile: DriveProfile | undefined
  readonly warning: string | undefined
}

/** Never throws. */
export function readDriveProfile(drive: Drive, folder: string | undefined = stateFolder()): FoundProfile {
  const identity = identityOf(drive)
  if (identity === undefined) return { profile: undefined, warning: undefined }
  const { value, warning } = readState(kind, fileName(identity), folder)
  // Copied by hand from another drive's name, or the one pair of identities in 2^64 that share one.
  return { profile: value?.identity === identity ? value : undefined, warning }
}

/** What reading the file costs: as measured on its drive, else as assumed. Never throws. */
export function driveCostFor(path: string, folder: string | undefined = stateFolder()): KnownDriveCost {
  const drive = driveOf(path)
  const { profile, warning } = readDriveProfile(drive, folder)
  if (profile === undefined) return { ...assumedDrive, source: 'assumed', measuredAt: undefined, name: drive.name, warning }
  return { ...profile.cost, source: 'measured', measuredAt: new Date(profile.measuredAt), name: drive.name, warning }
}

const fileName = (identity: string): string => `drive-${createHash('sha256').update(identity).digest('hex').slice(0, 16)}`
