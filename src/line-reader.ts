/**
 * Messages from the terminal or a pipe; """ begins and ends one of several lines.
 *
 * On a terminal Ctrl-C throws away what was typed; at an empty prompt it hints, and a second one within two seconds leaves.
 */
import { createInterface, type Interface } from 'node:readline'
import { bold, note } from './terminal.js'

const leaveWithinMs = 2000

export class LineReader implements Disposable {
  /** Set while an answer comes: Ctrl-C calls it instead. */
  onInterrupt: (() => void) | undefined
  readonly #lines: Interface
  readonly #interactive: boolean
  readonly #leave: () => void
  readonly #waiting: string[] = []
  #resume: (() => void) | undefined
  #ended = false
  #insideBlock = false
  #discarded = false
  #hintedAt = -Infinity

  /** leave: what a second Ctrl-C at the prompt does. */
  constructor(interactive: boolean, leave: () => void) {
    this.#interactive = interactive
    this.#leave = leave
    this.#lines = createInterface({ input: process.stdin, ...(interactive ? { output: process.stderr, historySize: 1000 } : {}), terminal: interactive })
    this.#lines.on('line', (line) => {
      this.#waiting.push(line)
      this.#resume?.()
    })
    this.#lines.on('close', () => {
      if (interactive && !this.#ended) process.stderr.write('\n') // Ctrl-D: the shell's prompt begins its own line
      this.#ended = true
      this.#resume?.()
    })
    this.#lines.on('SIGINT', () => this.interrupt())
  }

  /** Undefined at the end of the input; '' for one that was given up. */
  async message(): Promise<string | undefined> {
    const first = await this.#line('>>> ')
    if (first === undefined || !first.trimStart().startsWith('"""')) return first
    const parts = [first.trimStart().slice(3)]
    this.#insideBlock = true
    while (!parts.at(-1)!.trimEnd().endsWith('"""')) {
      const next = await this.#line('... ')
      if (next === undefined) break
      parts.push(next)
    }
    this.#insideBlock = false
    if (this.#discarded) {
      this.#discarded = false
      return ''
    }
    return parts.join('\n').replace(/"""\s*$/, '')
  }

  interrupt(): void {
    if (this.onInterrupt !== undefined) return this.onInterrupt()
    if (this.#ended) return this.#leave()
    if (this.#lines.line !== '' || this.#insideBlock) return this.#discard()
    if (performance.now() - this.#hintedAt < leaveWithinMs) return this.#leave()
    this.#hintedAt = performance.now()
    process.stderr.write('\n')
    note('Ctrl-C again to leave, or /bye')
    this.#lines.prompt()
  }

  /** No more messages, also none of those that wait. */
  end(): void {
    this.#waiting.length = 0
    this.#ended = true
    this.#resume?.()
    this.#lines.close()
  }

  [Symbol.dispose](): void {
    this.end()
  }

  #discard(): void {
    process.stderr.write('\n')
    this.#lines.write(null, { ctrl: true, name: 'e' })
    this.#lines.write(null, { ctrl: true, name: 'u' })
    this.#discarded = this.#insideBlock
    if (this.#insideBlock) this.#resume?.()
    else this.#lines.prompt()
  }

  async #line(prompt: string): Promise<string | undefined> {
    if (this.#interactive && !this.#ended) {
      this.#lines.setPrompt(bold(prompt))
      this.#lines.prompt()
    }
    while (this.#waiting.length === 0 && !this.#ended && !this.#discarded) await new Promise<void>((resolve) => (this.#resume = resolve))
    this.#resume = undefined
    return this.#waiting.shift()
  }
}
