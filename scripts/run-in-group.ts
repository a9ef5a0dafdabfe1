/**
 * Runs one command in a control group from its first instruction to the last of what it leaves behind.
 *
 * Streams are the caller's own, signals go on to the command, and nobody outside the group is touched.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupFigures } from '../ts/machine/cgroup-memory.js'
import { readText } from '../ts/machine/system-files.js'
import { commandInGroups, type ControlGroup, createControlGroup, type GroupLimits } from './control-group.js'

export interface GroupRun {
  readonly group: Pick<ControlGroup, 'version' | 'path' | 'reason' | 'limitBytes' | 'warning'>
  /** As shells say it: 128 + n for signal n. */
  readonly exitStatus: number
  readonly signal: NodeJS.Signals | null
  readonly wallSeconds: number
  /** After the last process, before the group is removed; undefined where the kernel does not say. */
  readonly figures: GroupFigures | undefined
  /** The highest usage and swap seen by looking now and then: a lower bound. */
  readonly sampledPeakBytes: number
  readonly sampledSwapBytes: number
  readonly leftBehind: readonly LeftBehind[]
  /** Why the group is still there; undefined when it is gone. */
  readonly notRemoved: string | undefined
}

/** A process that outlived the command and was ended, since it kept the group busy. */
export interface LeftBehind {
  readonly pid: number
  readonly name: string
  readonly endedBy: 'SIGTERM' | 'SIGKILL'
}

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const
const sampleEveryMs = 100
/** What is left behind gets this long to tidy up after SIGTERM, then this long to vanish after SIGKILL. */
const graceMs = 2000
const vanishMs = 5000

/** The group is removed in every case but the death of this process by SIGKILL. Errors: those of createControlGroup, and what spawn throws. */
export async function runInGroup(limits: GroupLimits, command: readonly string[]): Promise<GroupRun> {
  let send: (signal: NodeJS.Signals) => void = () => undefined
  const handlers = forwarded.map((signal) => [signal, () => send(signal)] as const)
  for (const [signal, handler] of handlers) process.on(signal, handler) // before the group exists: it must not be left behind
  try {
    const group = createControlGroup(limits)
    try {
      return await run(group, command, (forward) => (send = forward))
    } finally {
      group.remove() // gone already, unless something was thrown
    }
  } finally {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

async function run(group: ControlGroup, command: readonly string[], onSignal: (forward: (signal: NodeJS.Signals) => void) => void): Promise<GroupRun> {
  const began = performance.now()
  let sampledPeakBytes = 0
  let sampledSwapBytes = 0
  const timer = setInterval(() => {
    const figures = group.figures()
    sampledPeakBytes = Math.max(sampledPeakBytes, figures?.usageBytes ?? 0)
    sampledSwapBytes = Math.max(sampledSwapBytes, figures?.swapBytes ?? 0)
  }, sampleEveryMs)
  try {
    const [file, ...args] = commandInGroups(group.folders, command)
    const child = spawn(file, args, { stdio: 'inherit' })
    onSignal((signal) => {
      if (!isFromKeyboard(signal)) child.kill(signal)
    })
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.on('exit', (...ended) => resolve(ended)).on('error', reject)
    })
    const wallSeconds = (performance.now() - began) / 1000
    const exitStatus = signal === null ? code! : 128 + constants.signals[signal]
    const leftBehind = await endProcesses(group)
    const figures = group.figures()
    return { group, exitStatus, signal, wallSeconds, figures, sampledPeakBytes, sampledSwapBytes, leftBehind, notRemoved: await removed(group) }
  } finally {
    clearInterval(timer)
  }
}

/**
 * A terminal sends Ctrl-C and Ctrl-\ to the whole foreground: the command has it already, and a second one would mean "at once"
 * to many. Node does not say who sent a signal, so whoever is in the foreground takes these for typed.
 */
function isFromKeyboard(signal: NodeJS.Signals): boolean {
  if (signal !== 'SIGINT' && signal !== 'SIGQUIT') return false
  const [, , group, , , foreground] = (readText('/proc/self/stat') ?? '').replace(/^.*\) /s, '').split(' ')
  return group !== undefined && group === foreground
}

/** Ends what is in the group: SIGTERM first, SIGKILL after the grace. Looks again each time, since processes have children. */
async function endProcesses(group: ControlGroup): Promise<LeftBehind[]> {
  const found = new Map<number, { name: string; endedBy: LeftBehind['endedBy'] }>()
  const began = performance.now()
  for (let pids = group.processes(); pids.length > 0; pids = group.processes()) {
    const elapsedMs = performance.now() - began
    if (elapsedMs > graceMs + vanishMs) break
    const signal = elapsedMs < graceMs ? 'SIGTERM' : 'SIGKILL'
    for (const pid of pids) {
      if (found.get(pid)?.endedBy === signal) continue
      found.set(pid, { name: found.get(pid)?.name ?? readText(`/proc/${pid}/comm`)?.trim() ?? '', endedBy: signal })
      try {
        process.kill(pid, signal)
      } catch {
        // gone by itself between the list and the signal
      }
    }
    await sleep(20)
  }
  return [...found].map(([pid, { name, endedBy }]) => ({ pid, name, endedBy }))
}

/** The kernel takes a moment to let a group go after its last process. */
async function removed(group: ControlGroup): Promise<string | undefined> {
  let refusal = group.remove()
  for (const until = performance.now() + vanishMs; refusal !== undefined && performance.now() < until; refusal = group.remove()) await sleep(20)
  return refusal
}
