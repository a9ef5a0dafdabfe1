/** How errors end the program: one `error:` line with code and facts on stderr, and the exit code; never a bare stack. */
import { CommanderError } from 'commander'
import { HypuraError } from '../ts/engine/index.js'
import { exitCodeOf, exitCodes } from './exit-codes.js'
import { Interrupted } from './interrupts.js'
import { fail, note } from './terminal.js'

/** Says what happened and returns the exit code. HYPURA_DEBUG adds stacks and causes. */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage // commander has said it
  if (isSuppressed(error)) {
    const exitCode = reportError(error.suppressed)
    if (!(error.error instanceof Interrupted)) reportError(error.error)
    return exitCode
  }
  if (error instanceof Interrupted) note('interrupted')
  else if (error instanceof HypuraError) fail(`${error.message}\n  ${error.code}${facts(error)}`)
  else fail(`${error instanceof Error ? error.message : String(error)}\n  unexpected: please report it with what HYPURA_DEBUG=1 adds here`)
  if (process.env['HYPURA_DEBUG'] !== undefined && error instanceof Error) console.error(error.stack, error.cause ?? '')
  return error instanceof Interrupted ? error.exitCode : exitCodeOf(error)
}

/** For errors that no command could catch: those thrown by events and by promises nobody waits for. */
export function reportUncaught(): void {
  const leave = (error: unknown): void => process.exit(reportError(error))
  process.on('uncaughtException', leave)
  process.on('unhandledRejection', leave)
}

/** What `await using` throws when the work and then the closing failed: `suppressed` came first. */
function isSuppressed(error: unknown): error is Error & { readonly error: unknown; readonly suppressed: unknown } {
  return error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error
}

function facts({ details }: HypuraError): string {
  const known = Object.entries(details).filter(([, value]) => value !== undefined)
  return known.length === 0 ? '' : ` (${known.map(([key, value]) => `${key}: ${Array.isArray(value) ? value.join(', ') : String(value)}`).join(', ')})`
}
