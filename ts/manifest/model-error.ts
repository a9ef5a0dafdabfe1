/**
 * Errors about a model's metadata and tensors: one place that names file, key and rule, so that each message can be traced.
 *
 * `rule` is the class of malformed input (P1 block_count … P11 architecture, S13 shapes, S14 roles) that tests go by.
 */
import { HypuraError, type ErrorCode, type ErrorDetails } from '../base/errors.js'
import type { GgufModel } from '../gguf/types.js'

export type Rule = 'P1' | 'P2' | 'P3' | 'P4' | 'P5' | 'P6' | 'P7' | 'P8' | 'P9' | 'P11' | 'S13' | 'S14'

const modelPath = (model: GgufModel): string => model.files[0]?.path ?? 'model'

export function modelError(model: GgufModel, code: ErrorCode, message: string, details: ErrorDetails): HypuraError {
  const path = modelPath(model)
  return new HypuraError(code, `${path}: ${message}`, { path, ...details })
}

/** A metadata value that no engine could work with. */
export function badValue(model: GgufModel, rule: Rule, key: string, found: unknown, allowed: string): HypuraError {
  const text = found === undefined ? 'missing' : typeof found === 'string' ? `"${found}"` : String(found)
  return modelError(
    model, 'ERR_HYPURA_CORRUPT_GGUF',
    `${key} is ${text}, it must be ${allowed}. The file was written wrongly or is damaged: convert or download it again.`,
    { rule, field: key, found: text, allowed, offset: model.metadata.offsetOf(key) },
  )
}

/** A value that has a meaning, which this version does not compute. */
export function unsupportedValue(model: GgufModel, rule: Rule, key: string, found: unknown, allowed: string): HypuraError {
  return modelError(
    model, 'ERR_HYPURA_UNSUPPORTED_MODEL',
    `${key} is ${String(found)}, which this version cannot compute (it knows ${allowed}); ignoring it would change the answers.`,
    { rule, field: key, found: String(found), allowed, offset: model.metadata.offsetOf(key) },
  )
}
