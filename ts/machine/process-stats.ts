/**
 * What the operating system says about this process: the figures that the engine's own counters are checked against.
 *
 * @see proc(5): /proc/self/io, /proc/self/status
 */
import { readFileSync } from 'node:fs'

export interface ProcessStats {
  /** Fetched from storage by this process since it began; undefined where the system does not say. */
  readonly readBytes: number | undefined
  /** Sent to storage. */
  readonly writtenBytes: number | undefined
  readonly residentBytes: number
  readonly peakResidentBytes: number
  readonly majorFaults: number
}

export function processStats(): ProcessStats {
  const io = text('/proc/self/io')
  const status = text('/proc/self/status')
  const usage = process.resourceUsage()
  return {
    readBytes: number(io, /^read_bytes: (\d+)$/m),
    writtenBytes: number(io, /^write_bytes: (\d+)$/m),
    residentBytes: (number(status, /^VmRSS:\s+(\d+) kB$/m) ?? process.memoryUsage.rss() / 1024) * 1024,
    peakResidentBytes: (number(status, /^VmHWM:\s+(\d+) kB$/m) ?? usage.maxRSS) * 1024,
    majorFaults: usage.majorPageFault,
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // not Linux, or a container that hides it
  }
}

function number(source: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(source)
  return found === null ? undefined : Number(found[1])
}
