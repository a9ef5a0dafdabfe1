/** Errors of the addon as HypuraError: the same facts under the public codes. */
import { type ErrorCode, HypuraError } from '../base/errors.js'
import type { NativeCode, NativeErrorInfo } from '../native/native-binding.js'

const publicCodes: Readonly<Record<Exclude<NativeCode, 'ok'>, ErrorCode>> = {
  'invalid-argument': 'ERR_HYPURA_INVALID_ARGUMENT',
  'bad-load': 'ERR_HYPURA_BUG',
  'bad-plan': 'ERR_HYPURA_PLAN',
  'insufficient-memory': 'ERR_HYPURA_INSUFFICIENT_MEMORY',
  io: 'ERR_HYPURA_IO',
  'model-changed': 'ERR_HYPURA_MODEL_CHANGED',
  'non-finite': 'ERR_HYPURA_NONFINITE',
  cancelled: 'ERR_HYPURA_CANCELLED',
  closed: 'ERR_HYPURA_DISPOSED',
  busy: 'ERR_HYPURA_BUSY',
  'context-overflow': 'ERR_HYPURA_CONTEXT_OVERFLOW',
  unsupported: 'ERR_HYPURA_UNSUPPORTED',
  internal: 'ERR_HYPURA_BUG',
  'mirror-mismatch': 'ERR_HYPURA_MIRROR_MISMATCH',
}

/** Anything that was thrown, as a HypuraError where it came from the addon. `paths`: files of the Load message, of all copies. */
export function fromNative(error: unknown, paths: readonly string[] = []): unknown {
  if (error instanceof HypuraError || !isNativeError(error)) return error
  if (error.nativeCode === 'ok') return error
  const path = error.file >= 0 ? paths[error.file] : undefined
  return new HypuraError(publicCodes[error.nativeCode], error.message, {
    ...(path === undefined ? {} : { path }),
    ...(error.errno === 0 ? {} : { errno: error.errno }),
    ...(error.offset < 0 ? {} : { offset: error.offset }),
  }, { cause: error })
}

/** Runs `call` and rethrows what the addon throws as a HypuraError. */
export function callNative<T>(call: () => T, paths: readonly string[] = []): T {
  try {
    return call()
  } catch (error) {
    throw fromNative(error, paths)
  }
}

export async function awaitNative<T>(promise: Promise<T>, paths: readonly string[] = []): Promise<T> {
  try {
    return await promise
  } catch (error) {
    throw fromNative(error, paths)
  }
}

function isNativeError(error: unknown): error is NativeErrorInfo {
  return typeof error === 'object' && error !== null && 'nativeCode' in error && 'message' in error
}
