/**
 * Typed errors: what a file, a drive, a caller or the machine can cause, as one class with a code.
 *
 * The message says what happened, with numbers, and what to do next; `details` carries the same facts for programs.
 */

/** Every code, with the process exit code that `hypura` ends with. Append only: scripts depend on both. */
export const errorCodes = {
  ERR_HYPURA_USAGE: 2,
  ERR_HYPURA_CORRUPT_GGUF: 3,
  ERR_HYPURA_NOT_GGUF: 3,
  ERR_HYPURA_UNSUPPORTED_ARCH: 3,
  ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE: 3,
  ERR_HYPURA_UNSUPPORTED_MODEL: 3,
  ERR_HYPURA_UNSUPPORTED_TOKENIZER: 3,
  ERR_HYPURA_SHARD_MISSING: 3,
  ERR_HYPURA_MODEL_CHANGED: 3,
  ERR_HYPURA_NOT_FOUND: 3,
  ERR_HYPURA_INSUFFICIENT_MEMORY: 4,
  ERR_HYPURA_IO: 5,
  ERR_HYPURA_TEMPLATE: 1,
  ERR_HYPURA_CONTEXT_OVERFLOW: 1,
  ERR_HYPURA_NONFINITE: 1,
  ERR_HYPURA_INVALID_ARGUMENT: 2,
  ERR_HYPURA_CANCELLED: 1,
  ERR_HYPURA_DISPOSED: 1,
  ERR_HYPURA_BUSY: 1,
  ERR_HYPURA_NO_BINARY: 1,
  ERR_HYPURA_UNSUPPORTED: 1,
  ERR_HYPURA_PLAN: 1,
  ERR_HYPURA_CORRUPT_TRACE: 3,
  ERR_HYPURA_BUG: 1,
  ERR_HYPURA_MIRROR_MISMATCH: 3,
} as const

export type ErrorCode = keyof typeof errorCodes

/** Facts of an error for programs: `offset` in bytes, `field`, `found`, `allowed`, `rule`, `path`, `errno`, … */
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean | readonly string[] | undefined>>

export class HypuraError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options)
    this.name = 'HypuraError'
    this.code = code
    this.details = details
  }
}

/** Throws ERR_HYPURA_BUG: what only our own mistake can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new HypuraError('ERR_HYPURA_BUG', `hypura bug: ${message}`)
}

/** The nearest of `known` to `text` by edit distance, for "did you mean"; undefined when none is near. */
export function nearest(text: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(text.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(text, candidate)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

function editDistance(a: string, b: string): number {
  if (a.length > 256 || b.length > 256) return Math.max(a.length, b.length)
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}
