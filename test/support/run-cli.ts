/** The `hypura` program as a user starts it: exit code, both streams, and how long it took. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { commandInGroups } from '../../scripts/control-group.js'
import { checkoutRoot } from '../../scripts/tidy.js'

export interface CliResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

export interface CliOptions {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Sent once, when the condition on the output so far holds. */
  readonly interrupt?: { readonly signal: NodeJS.Signals; readonly when: (stdout: string, stderr: string) => boolean; readonly times?: number }
  /** Called with the output so far, whenever there is more. */
  readonly watch?: (stdout: string, stderr: string) => void
  /** Runs inside this control group. */
  readonly cgroup?: string
}

export const cliPath: string = join(checkoutRoot, 'dist/src/cli.js')
export const modelPath = (name: string): string => join(checkoutRoot, 'models', name)

export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const began = performance.now()
  const [file, ...rest] = commandInGroups(options.cgroup === undefined ? [] : [options.cgroup], [process.execPath, cliPath, ...args])
  const child = spawn(file, rest, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...process.env, CI: '1', NO_COLOR: '1', HYPURA_STATE_DIR: 'off', ...options.env },
  })
  let stdout = ''
  let stderr = ''
  let interrupts = options.interrupt?.times ?? 1
  const look = (): void => {
    options.watch?.(stdout, stderr)
    if (options.interrupt !== undefined && interrupts > 0 && options.interrupt.when(stdout, stderr)) {
      interrupts--
      child.kill(options.interrupt.signal)
    }
  }
  child.stdout!.setEncoding('utf8').on('data', (text: string) => ((stdout += text), look()))
  child.stderr!.setEncoding('utf8').on('data', (text: string) => ((stderr += text), look()))
  child.stdin?.end(options.input)
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('close', (...ended) => resolve(ended)).on('error', reject)
  })
  return { code, signal, stdout, stderr, ms: performance.now() - began }
}
