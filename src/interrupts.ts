/**
 * Ctrl-C manners: the first SIGINT or SIGTERM stops what runs, a second one leaves at once.
 *
 * The process ends with 130 or 143 afterwards, whatever else the command does. A conversation takes SIGINT over for the time
 * of an answer, because there Ctrl-C means "stop this answer".
 */
import { exitCodes } from './exit-codes.js'

type StopSignal = 'SIGINT' | 'SIGTERM'

/** Why things were aborted: no error to report, only an exit code. */
export class Interrupted extends Error {
  readonly exitCode: number

  constructor(signal: StopSignal) {
    super(`interrupted by ${signal}`)
    this.name = 'Interrupted'
    this.exitCode = signal === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted
  }
}

export interface Interrupts extends Disposable {
  /** Aborted by the first signal; the reason is an Interrupted. */
  readonly signal: AbortSignal
  /** Hands SIGINT to somebody else, or takes it back. */
  divert(handler: (() => void) | undefined): void
  /** Does what SIGINT does when it is not diverted. */
  interrupt(): void
}

export function catchInterrupts(): Interrupts {
  const controller = new AbortController()
  let diverted: (() => void) | undefined
  const stop = (name: StopSignal): void => {
    const reason = new Interrupted(name)
    if (controller.signal.aborted) process.exit(reason.exitCode)
    process.exitCode = reason.exitCode
    controller.abort(reason)
  }
  const onSigint = (): void => (diverted === undefined ? stop('SIGINT') : diverted())
  const onSigterm = (): void => stop('SIGTERM')
  process.on('SIGINT', onSigint)
  process.on('SIGTERM', onSigterm)
  return {
    signal: controller.signal,
    divert: (handler) => (diverted = handler),
    interrupt: () => stop('SIGINT'),
    [Symbol.dispose]() {
      process.off('SIGINT', onSigint)
      process.off('SIGTERM', onSigterm)
    },
  }
}
