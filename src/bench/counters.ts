/** What engine, operating system and drive counted, at one moment and between two. */
import { cgroupMemory, type Drive, type DriveStats, driveStats, driveStatsBetween, type Model, type ModelStats, type ProcessStats, processStats } from '../../ts/engine/index.js'

export interface Snapshot {
  readonly atMs: number
  readonly engine: ModelStats
  readonly process: ProcessStats
  /** Undefined where the file lies on no drive that counts. */
  readonly drive: DriveStats | undefined
  readonly swapBytes: number | undefined
}

export function snapshot(model: Model, drive: Drive): Snapshot {
  const group = cgroupMemory()
  const now = processStats()
  return {
    atMs: performance.now(),
    engine: model.stats(),
    process: now,
    drive: driveStats(drive),
    swapBytes: 'usageBytes' in group ? group.swapBytes ?? now.swapBytes : now.swapBytes,
  }
}

/** null: this system does not say. */
export interface Counted {
  readonly ms: number
  readonly readBytes: number
  readonly reads: number
  readonly retries: number
  readonly osReadBytes: number | null
  readonly stallMs: number
  readonly sweeps: number
  readonly hits: number
  readonly misses: number
  readonly missedBytes: number
  /** Of all processes on that drive. */
  readonly driveReadBytes: number | null
  readonly driveWrittenBytes: number | null
  readonly driveBusyMs: number | null
  readonly majorFaults: number
  /** Growth of what lies in swap; never below 0. */
  readonly swappedBytes: number | null
}

export function counted(before: Snapshot, after: Snapshot): Counted {
  const engine = (name: keyof ModelStats): number => after.engine[name] - before.engine[name]
  const drive = before.drive === undefined || after.drive === undefined ? undefined : driveStatsBetween(before.drive, after.drive)
  return {
    ms: after.atMs - before.atMs,
    readBytes: engine('readBytes'),
    reads: engine('reads'),
    retries: engine('retries'),
    osReadBytes: grown(before.process.readBytes, after.process.readBytes),
    stallMs: engine('stallNs') / 1e6,
    sweeps: engine('sweeps'),
    hits: engine('hits'),
    misses: engine('misses'),
    missedBytes: engine('missBytes'),
    driveReadBytes: drive?.readBytes ?? null,
    driveWrittenBytes: drive?.writtenBytes ?? null,
    driveBusyMs: drive?.busyMs ?? null,
    majorFaults: after.process.majorFaults - before.process.majorFaults,
    swappedBytes: grown(before.swapBytes, after.swapBytes),
  }
}

/** Of windows that do not overlap. One that is not known makes the sum unknown. */
export function summed(parts: readonly Counted[]): Counted {
  const sum = (name: keyof Counted): number => parts.reduce((total, part) => total + (part[name] ?? 0), 0)
  const known = (name: keyof Counted): number | null => (parts.some((part) => part[name] === null) ? null : sum(name))
  return {
    ms: sum('ms'), readBytes: sum('readBytes'), reads: sum('reads'), retries: sum('retries'), osReadBytes: known('osReadBytes'),
    stallMs: sum('stallMs'), sweeps: sum('sweeps'), hits: sum('hits'), misses: sum('misses'), missedBytes: sum('missedBytes'),
    driveReadBytes: known('driveReadBytes'), driveWrittenBytes: known('driveWrittenBytes'), driveBusyMs: known('driveBusyMs'), majorFaults: sum('majorFaults'), swappedBytes: known('swappedBytes'),
  }
}

const quietMs = 20
const quietMsMax = 3000

/**
 * Until the engine's read-ahead has come to rest, so that counters of engine and system speak of the same reads. Idle time
 * that goes on reading (a pool that is warmed) is cut short.
 */
export async function readsAtRest(model: Model): Promise<void> {
  const end = performance.now() + quietMsMax
  for (let last = -1; performance.now() < end;) {
    const { readBytes } = model.stats()
    if (readBytes === last) return
    last = readBytes
    await new Promise((resolve) => setTimeout(resolve, quietMs))
  }
}

const grown = (before: number | undefined, after: number | undefined): number | null => (before === undefined || after === undefined ? null : Math.max(0, after - before))
