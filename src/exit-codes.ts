/** How `hypura` ends. Scripts depend on these numbers: append only. */
import { errorCodes, HypuraError } from '../ts/engine/index.js'

export const exitCodes = {
  done: 0,
  runtime: 1,
  usage: 2,
  model: 3,
  memory: 4,
  io: 5,
  interrupted: 130,
  terminated: 143,
} as const

export function exitCodeOf(error: unknown): number {
  return error instanceof HypuraError ? errorCodes[error.code] : exitCodes.runtime
}
