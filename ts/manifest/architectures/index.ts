/** The families hypura computes. To add one: docs/adding/architecture.md. */
import { nearest } from '../../base/errors.js'
import type { GgufModel } from '../../gguf/types.js'
import { badValue, modelError } from '../model-error.js'
import type { Architecture } from './architecture.js'
import { granite, granitemoe } from './granite.js'
import { llama } from './llama.js'
import { olmoe } from './olmoe.js'
import { qwen2 } from './qwen2.js'
import { qwen2moe } from './qwen2moe.js'
import { qwen3 } from './qwen3.js'
import { qwen3moe } from './qwen3moe.js'

export const architectures: ReadonlyMap<string, Architecture> = new Map(
  [llama, qwen2, qwen2moe, qwen3, qwen3moe, olmoe, granite, granitemoe].map((family) => [family.name, family]),
)

/** The model's family. Error: ERR_HYPURA_UNSUPPORTED_ARCH with the known ones and the nearest. */
export function architectureOf(model: GgufModel): Architecture {
  const key = 'general.architecture'
  const name = model.metadata.string(key)
  const known = [...architectures.keys()]
  if (name === undefined) throw badValue(model, 'P11', key, undefined, 'the name of a model family')
  const found = architectures.get(name)
  if (found !== undefined) return found
  const shown = name.length > 64 ? `${name.slice(0, 64)}…` : name
  const near = nearest(name, known)
  const hint = near === undefined ? '' : `; the nearest is "${near}"`
  throw modelError(
    model, 'ERR_HYPURA_UNSUPPORTED_ARCH',
    `architecture "${shown}" is not supported${hint}. Known: ${known.join(', ')}.`,
    { rule: 'P11', field: key, found: shown, allowed: known, offset: model.metadata.offsetOf(key), nearest: near },
  )
}
