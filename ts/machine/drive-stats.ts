/**
 * What the devices of a drive have done since the machine began: bytes, requests and busy time, by whoever caused them.
 *
 * @see https://docs.kernel.org/block/stat.html
 */
import { join } from 'node:path'
import type { Drive } from './drive.js'
import { readText, type SystemFiles, systemFiles } from './system-files.js'

export interface DriveStats {
  readonly readBytes: number
  readonly writtenBytes: number
  /** Requests completed, after the kernel has merged neighbours. */
  readonly reads: number
  readonly writes: number
  /** Time with at least one request under way. Of n devices the sum: up to n times the time that passed. */
  readonly busyMs: number
}

/** Summed over the devices; undefined where there are none or one of them does not say. */
export function driveStats(drive: Pick<Drive, 'devices'>, { sys }: Pick<SystemFiles, 'sys'> = systemFiles): DriveStats | undefined {
  let sum: DriveStats | undefined
  for (const name of drive.devices) {
    const stats = parseBlockStat(readText(join(sys, 'block', name, 'stat')) ?? '')
    if (stats === undefined) return undefined
    sum = sum === undefined ? stats : added(sum, stats)
  }
  return sum
}

/** What happened from `before` to `after`. A device that was taken out and put back begins again at zero: never negative. */
export function driveStatsBetween(before: DriveStats, after: DriveStats): DriveStats {
  const grown = (name: keyof DriveStats): number => Math.max(0, after[name] - before[name])
  return { readBytes: grown('readBytes'), writtenBytes: grown('writtenBytes'), reads: grown('reads'), writes: grown('writes'), busyMs: grown('busyMs') }
}

/** /sys/block/X/stat: counts, of which sectors are 512 bytes whatever the drive's own are. Undefined for anything else. */
export function parseBlockStat(text: string): DriveStats | undefined {
  const fields = text.trim().split(/\s+/)
  if (fields.length < 11 || !fields.every((field) => /^\d{1,20}$/.test(field))) return undefined
  const [reads, , sectorsRead, , writes, , sectorsWritten, , , busyMs] = fields.map(Number)
  return { reads: reads!, readBytes: sectorsRead! * 512, writes: writes!, writtenBytes: sectorsWritten! * 512, busyMs: busyMs! }
}

function added(a: DriveStats, b: DriveStats): DriveStats {
  return { readBytes: a.readBytes + b.readBytes, writtenBytes: a.writtenBytes + b.writtenBytes, reads: a.reads + b.reads, writes: a.writes + b.writes, busyMs: a.busyMs + b.busyMs }
}
