/**
 * What the operating system says about this process: the figures that the engine's own counters are checked against.
 *
 * @see proc(5): /proc/self/io, /proc/self/status
 */
import { join } from 'node:path'
import { namedNumber, readText, type SystemFiles, systemFiles } from './system-files.js'

/** Undefined where the system does not say. */
export interface ProcessStats {
  /** Fetched from storage by this process since it began. */
  readonly readBytes: number | undefined
  /** Sent to storage. */
  readonly writtenBytes: number | undefined
  /** Of those, never written after all: the file was truncated or deleted before. */
  readonly cancelledWriteBytes: number | undefined
  readonly residentBytes: number
  readonly peakResidentBytes: number
  /** Heap, stacks, the arena. */
  readonly residentAnonBytes: number | undefined
  /** Program code and mapped files. */
  readonly residentFileBytes: number | undefined
  readonly swapBytes: number | undefined
  readonly majorFaults: number
  readonly minorFaults: number
}

export function processStats({ proc }: Pick<SystemFiles, 'proc'> = systemFiles): ProcessStats {
  const io = readText(join(proc, 'self/io')) ?? ''
  const status = readText(join(proc, 'self/status')) ?? ''
  const usage = process.resourceUsage()
  return {
    readBytes: namedNumber(io, 'read_bytes'),
    writtenBytes: namedNumber(io, 'write_bytes'),
    cancelledWriteBytes: namedNumber(io, 'cancelled_write_bytes'),
    residentBytes: namedNumber(status, 'VmRSS') ?? process.memoryUsage.rss(),
    peakResidentBytes: namedNumber(status, 'VmHWM') ?? usage.maxRSS * 1024,
    residentAnonBytes: namedNumber(status, 'RssAnon'),
    residentFileBytes: namedNumber(status, 'RssFile'),
    swapBytes: namedNumber(status, 'VmSwap'),
    majorFaults: usage.majorPageFault,
    minorFaults: usage.minorPageFault,
  }
}
