/**
 * Ctrl-C manners: the first stops what runs, the second leaves at once.
 *
 * A command registers what "stop" means while it works; with nothing registered the process ends as usual.
 */
import { exitCodes } from './exit-codes.js'

export interface Interrupts extends Disposable {
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal
  /** The exit code that the signal asks for; undefined when none came. */
  readonly exitCode: number | undefined
}

export function catchInterrupts(): Interrupts {
  const controller = new AbortController()
  let exitCode: number | undefined
  const onSignal = (name: NodeJS.Signals): void => {
    if (exitCode !== undefined) process.exit(exitCode)
    exitCode = name === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted
    controller.abort(new Error(`interrupted by ${name}`))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode
    },
    [Symbol.dispose]() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}
