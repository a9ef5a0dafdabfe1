/**
 * What people see on stderr: notes, warnings, a progress line. stdout belongs to generated text and to JSON alone.
 *
 * Nothing moves where stderr is no terminal, TERM is dumb or CI is set; NO_COLOR takes the colours away, FORCE_COLOR brings
 * them back. Everything printed here may quote a stranger's file, so control characters are taken out.
 */
import { stripVTControlCharacters } from 'node:util'

const stderr = process.stderr

function canMove(): boolean {
  return stderr.isTTY === true && process.env['TERM'] !== 'dumb' && process.env['CI'] === undefined
}

function hasColour(): boolean {
  if (process.env['FORCE_COLOR'] !== undefined && process.env['FORCE_COLOR'] !== '0') return true
  return canMove() && (process.env['NO_COLOR'] ?? '') === ''
}

const paint = (code: string, text: string): string => (hasColour() ? `\x1b[${code}m${text}\x1b[0m` : text)
export const dim = (text: string): string => paint('2', text)
export const red = (text: string): string => paint('31', text)
export const yellow = (text: string): string => paint('33', text)
export const bold = (text: string): string => paint('1', text)

export function note(text: string): void {
  stderr.write(`${dim(printable(text))}\n`)
}
export function warn(text: string): void {
  stderr.write(`${yellow('warning:')} ${printable(text)}\n`)
}
export function fail(text: string): void {
  stderr.write(`${red('error:')} ${printable(text)}\n`)
}

export interface ProgressLine {
  /** fraction 0 .. 1; `detail` stands behind the bar. */
  update(fraction: number, detail: string): void
  /** Takes the line away. */
  clear(): void
}

const redrawMs = 100
const barWidth = 24

/** A line that redraws itself, at most ten times per second, and leaves nothing behind. */
export function progressLine(label: string, mode: 'auto' | 'always' | 'never' = 'auto'): ProgressLine {
  if (mode === 'never' || (mode === 'auto' && !canMove())) return { update: () => undefined, clear: () => undefined }
  let drawnAt = -Infinity
  let drawn = false
  return {
    update(fraction, detail) {
      const now = performance.now()
      if (now - drawnAt < redrawMs) return
      drawnAt = now
      drawn = true
      const filled = Math.round(Math.min(1, Math.max(0, fraction)) * barWidth)
      const line = `${label} ${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${(fraction * 100).toFixed(0).padStart(3)} %  ${detail}`
      stderr.write(`\r\x1b[2K${stripVTControlCharacters(line).slice(0, Math.max(20, (stderr.columns ?? 80) - 1))}`)
    },
    clear() {
      if (drawn) stderr.write('\r\x1b[2K')
      drawn = false
    },
  }
}

/** Text of a model or file without the control sequences that could drive the terminal; newlines and tabs stay. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}
