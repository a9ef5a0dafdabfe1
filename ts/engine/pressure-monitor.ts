/**
 * Looks after memory while a model is loaded, and asks for less or more of it (ts/prefetch/elastic-policy.ts decides).
 *
 * What it looks at: the limits and what is left under them; pressure stall information, of a machine or group that is nearly
 * full; and, in groups of cgroup v1, the kernel's word that it looked for memory and found none, the only sign of somebody who
 * lowers a limit below what is in use (decision 0006). A look costs a few small files, about 0.2 ms.
 */
import { join } from 'node:path'
import { memoryGroups } from '../machine/cgroup-memory.js'
import { headRoomBytes, memoryLimits, tightestLimit } from '../machine/memory-limits.js'
import { memoryStalls } from '../machine/memory-pressure.js'
import { type SystemFiles, systemFiles } from '../machine/system-files.js'
import { elasticRefused, elasticStart, type ElasticState, elasticStep, type MemorySigns } from '../prefetch/elastic-policy.js'
import type { CacheMemory } from './cache-memory.js'
import type { MemoryChange } from './options.js'

export interface MonitorParts {
  readonly memory: Pick<CacheMemory, 'plan' | 'leastBytes' | 'mostBytes' | 'budgetMostBytes' | 'arenaBytes' | 'resize'>
  /** The budget was chosen by 'auto'. */
  readonly follows: boolean
  /** NativeBinding.watchPressure. */
  readonly watchPressure: (folder: string) => () => number
  readonly onChange: (change: MemoryChange) => void
  readonly onWarning: (text: string) => void
  /** Tests pass folders with fixtures. */
  readonly files?: Pick<SystemFiles, 'proc' | 'cgroup'>
}

const busyMs = 250
const idleMs = 1000
/** Waiting for memory counts where less than this share of it is left: elsewhere others wait, under limits of their own. */
const scarceShare = 1 / 32

export class PressureMonitor {
  readonly #parts: MonitorParts
  readonly #files: Pick<SystemFiles, 'proc' | 'cgroup'>
  readonly #watches: readonly (() => number)[]
  #state: ElasticState
  #mostBytes: number
  #stalls: { readonly atMs: number; readonly someUs: ReadonlyMap<string, number> } | undefined
  #shrinking = false
  #request = 0
  #busy = false
  #timer: NodeJS.Timeout | undefined
  #dueMs = Infinity
  #closed = false

  constructor(parts: MonitorParts) {
    this.#parts = parts
    this.#files = parts.files ?? systemFiles
    this.#watches = watchesOf(parts, this.#files)
    this.#mostBytes = parts.memory.mostBytes
    this.#state = elasticStart(parts.memory.plan.chosen.total)
    this.#arm()
  }

  setBusy(busy: boolean): void {
    this.#busy = busy
    if (busy && this.#dueMs - performance.now() > busyMs) this.#arm()
  }

  /** Somebody chose another size: it is the new most. */
  setMost(bytes: number): void {
    this.#mostBytes = bytes
    this.#state = elasticStart(bytes)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** One look; the timer's, and a test's. */
  look(nowMs: number): void {
    if (this.#closed) return
    const signs = this.#signs(nowMs)
    // Less is on its way already.
    if (this.#shrinking) return
    const { memory, follows } = this.#parts
    const step = elasticStep({ follows, leastBytes: memory.leastBytes, mostBytes: this.#mostBytes }, this.#state, signs)
    this.#state = step.state
    if (step.wanted !== undefined) void this.#change(step.wanted.bytes, step.wanted.reason, nowMs)
  }

  async #change(bytes: number, reason: MemoryChange['reason'], nowMs: number): Promise<void> {
    const { memory, onChange, onWarning } = this.#parts
    const fromBytes = memory.plan.chosen.total
    const number = ++this.#request
    this.#shrinking = reason !== 'room'
    this.#state = { ...this.#state, inForceBytes: bytes }
    try {
      await memory.resize(bytes >= memory.mostBytes ? memory.budgetMostBytes : bytes)
    } catch (error) {
      if (this.#closed || number !== this.#request) return
      this.#state = elasticRefused(this.#state, nowMs)
      onWarning(`memory stays as it is: ${(error as Error).message}`)
    }
    if (this.#closed || number !== this.#request) return
    this.#shrinking = false
    const toBytes = memory.plan.chosen.total
    this.#state = { ...this.#state, inForceBytes: toBytes }
    if (toBytes !== fromBytes) onChange({ fromBytes, toBytes, loadedBytes: memory.mostBytes, reason })
  }

  #signs(nowMs: number): MemorySigns {
    const limits = memoryLimits(this.#files)
    const tightest = tightestLimit(limits)
    const headRoom = headRoomBytes(tightest)
    const events = this.#watches.reduce((sum, take) => sum + take(), 0)
    const scarce = new Set(limits.filter(({ availableBytes, limitBytes }) => availableBytes < limitBytes * scarceShare).map(({ source }) => source))
    return {
      nowMs,
      roomBytes: this.#parts.memory.arenaBytes + tightest.availableBytes - headRoom,
      headRoomBytes: headRoom,
      starved: events > 0 || tightest.availableBytes === 0,
      stalledShare: this.#stalledShare(nowMs, scarce),
    }
  }

  /** Over the second before now, or since the last look where those are rarer. */
  #stalledShare(nowMs: number, scarce: ReadonlySet<string>): number {
    const before = this.#stalls
    if (before !== undefined && nowMs - before.atMs < idleMs * 0.9) return 0
    const now = memoryStalls(this.#files)
    this.#stalls = { atMs: nowMs, someUs: new Map(now.map(({ source, someUs }) => [source, someUs])) }
    if (before === undefined) return 0
    const shares = now.filter(({ source }) => scarce.has(source)).map(({ source, someUs }) => (someUs - (before.someUs.get(source) ?? someUs)) / 1000 / (nowMs - before.atMs))
    return Math.max(0, ...shares)
  }

  #arm(): void {
    clearTimeout(this.#timer)
    const delayMs = this.#busy ? busyMs : idleMs
    this.#dueMs = performance.now() + delayMs
    this.#timer = setTimeout(() => {
      this.look(performance.now())
      if (!this.#closed) this.#arm()
    }, delayMs)
    this.#timer.unref()
  }
}

/** Of every version 1 group that this process is charged to, where the kernel lets it listen. */
function watchesOf({ watchPressure }: MonitorParts, files: Pick<SystemFiles, 'cgroup' | 'proc'>): (() => number)[] {
  const root = join(files.cgroup, 'memory')
  const folders = memoryGroups(files).flat().filter(({ version, folder }) => version === 1 && join(folder) !== join(root, '/') && join(folder) !== root).map(({ folder }) => folder)
  return folders.flatMap((folder) => {
    try {
      return [watchPressure(folder)]
    } catch {
      return [] // not there, or not for us: the limits and the stalls are left to look at
    }
  })
}
