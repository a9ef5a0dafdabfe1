/**
 * The `hypura` program on a pseudo-terminal, driven as a person would: wait for what is shown, then type.
 *
 * The terminal is the one of util-linux' `script`, 200 columns wide, so that no line of ours wraps.
 */
import { spawn, spawnSync } from 'node:child_process'
import { stripVTControlCharacters } from 'node:util'
import { cliPath } from './run-cli.js'

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A shell redirection behind the command, such as `>file`. */
  readonly redirect?: string
}

export interface TerminalSession extends AsyncDisposable {
  /** Everything shown so far, control sequences included. */
  readonly raw: string
  /** The same without them, lines ended by \n. */
  readonly text: string
  /** Until the text after the last match matches; throws what was shown instead. */
  waitFor(what: RegExp | string): Promise<string>
  type(keys: string): void
  /** Types a line and waits. */
  say(line: string, what: RegExp | string): Promise<string>
  /** The exit code. */
  readonly ended: Promise<number>
}

export const ctrlC = '\x03'
export const ctrlD = '\x04'
export const prompt: RegExp = />>> $/

const waitMs = 20_000

/** Why there is no pseudo-terminal here; undefined where there is one. */
export function terminalObstacle(): string | undefined {
  const probe = spawnSync('script', ['-qefc', 'exit 7', '/dev/null'], { input: '' })
  return probe.status === 7 ? undefined : 'the program `script` of util-linux is not here'
}

export function startTerminal(args: readonly string[], { env = {}, redirect = '' }: TerminalOptions = {}): TerminalSession {
  const quoted = [process.execPath, cliPath, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const { CI: _ci, NO_COLOR: _colour, FORCE_COLOR: _force, ...inherited } = process.env
  const child = spawn('script', ['-qefc', `stty cols 200 rows 50; exec ${quoted} ${redirect}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...inherited, TERM: 'xterm', SHELL: '/bin/sh', ...env },
  })
  let raw = ''
  let seen = 0
  let look = (): void => undefined
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    raw += chunk
    look()
  })
  child.stdin.on('error', () => undefined) // keys typed after the end
  const ended = new Promise<number>((resolve, reject) => child.on('close', (code) => resolve(code ?? -1)).on('error', reject))
  const text = (): string => stripVTControlCharacters(raw).replaceAll('\r\n', '\n').replaceAll('\r', '')

  async function waitFor(what: RegExp | string): Promise<string> {
    const pattern = typeof what === 'string' ? new RegExp(what.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : what
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<string>((resolve, reject) => {
        const refuse = (why: string): void => reject(new Error(`${why} while waiting for ${pattern}; shown was:\n${text().slice(seen)}`))
        timer = setTimeout(() => refuse('time is up'), waitMs)
        look = () => {
          const rest = text().slice(seen)
          const found = pattern.exec(rest)
          if (found === null) return
          seen += found.index + found[0].length
          resolve(rest.slice(0, found.index + found[0].length))
        }
        look()
        void ended.then(() => refuse('the program ended'))
      })
    } finally {
      clearTimeout(timer)
      look = () => undefined
    }
  }
  const type = (keys: string): void => void child.stdin.write(keys)
  return {
    get raw() { return raw },
    get text() { return text() },
    waitFor, type, ended,
    say(line, what) {
      type(`${line}\r`)
      return waitFor(what)
    },
    async [Symbol.asyncDispose]() {
      child.kill()
      await ended
    },
  }
}
