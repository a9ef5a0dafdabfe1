/**
 * A peer's process: started in this process's memory group (children inherit it), watched for what it reads and holds, and
 * never outliving the bench.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

export interface PeerProcess {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly timedOut: boolean
  readonly stdout: string
  /** Its last lines. */
  readonly stderr: string
  readonly peakBytes: number | null
  readonly osReadBytes: number | null
  readonly ms: number
}

export interface PeerProcessOptions {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  readonly timeoutMs: number
  readonly onStart?: (pid: number) => void
}

const pollMs = 100
const outputCharactersMax = 4 * 2 ** 20
const errorCharactersKept = 4000

/** Rejects when it cannot be started, and with the signal's reason when that is aborted. */
export async function runPeerProcess(command: string, args: readonly string[], options: PeerProcessOptions): Promise<PeerProcess> {
  options.signal.throwIfAborted()
  const began = performance.now()
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } })
  let stdout = ''
  let stderr = ''
  let timedOut = false
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (stdout.length > outputCharactersMax) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-errorCharactersKept)))
  child.stdin.on('error', () => undefined) // it may end before it reads
  child.stdin.end(options.input ?? '')
  if (child.pid !== undefined) {
    dieFirst(child.pid)
    options.onStart?.(child.pid)
  }
  const figures = { peakBytes: null as number | null, osReadBytes: null as number | null }
  const look = (): void => {
    if (child.pid === undefined) return
    figures.peakBytes = numberOf(`/proc/${child.pid}/status`, /^VmHWM:\s+(\d+) kB/m, 1024) ?? figures.peakBytes
    figures.osReadBytes = numberOf(`/proc/${child.pid}/io`, /^read_bytes: (\d+)/m, 1) ?? figures.osReadBytes
  }
  const poll = setInterval(look, pollMs)
  const kill = (): void => void child.kill('SIGKILL')
  const timer = setTimeout(() => {
    timedOut = true
    kill()
  }, options.timeoutMs)
  options.signal.addEventListener('abort', kill, { once: true })
  process.once('exit', kill)
  try {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.on('close', (...ended) => resolve(ended)).on('error', reject)
    })
    options.signal.throwIfAborted()
    return { code, signal, timedOut, stdout, stderr, ...figures, ms: performance.now() - began }
  } finally {
    clearInterval(poll)
    clearTimeout(timer)
    options.signal.removeEventListener('abort', kill)
    process.off('exit', kill)
  }
}

/** Where memory runs out, the peer is to be ended, not the bench that reports it. */
function dieFirst(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000')
  } catch {
    // not Linux, or it has ended already
  }
}

function numberOf(path: string, pattern: RegExp, unit: number): number | undefined {
  try {
    const found = pattern.exec(readFileSync(path, 'utf8'))
    return found === null ? undefined : Number(found[1]) * unit
  } catch {
    return undefined // ended, or not Linux
  }
}

/** How a run without figures ended, in words. */
export function endOf({ code, signal, timedOut, stderr, ms }: PeerProcess): { outcome: 'killed' | 'failed' | 'timeout'; reason: string } {
  if (timedOut) return { outcome: 'timeout', reason: `it was not done after ${Math.round(ms / 1000)} s and was ended` }
  if (signal === 'SIGKILL') return { outcome: 'killed', reason: 'the kernel ended it (SIGKILL), most likely for memory' }
  const last = stderr.trim().split('\n').at(-1)?.trim() ?? ''
  return { outcome: 'failed', reason: `${signal === null ? `exit code ${code}` : `ended by ${signal}`}${last === '' ? '' : `: ${last.slice(0, 300)}`}` }
}
