/** The eviction policies by name, the default first. */
import { HypuraError, nearest } from '../../base/errors.js'
import { belady } from './belady.js'
import { costAware } from './cost-aware.js'
import { frequency } from './frequency.js'
import type { OfflinePolicy } from './offline.js'
import type { EvictionPolicy } from './policy.js'
import { recency } from './recency.js'
import { s3Fifo } from './s3-fifo.js'

export const evictionPolicies: ReadonlyMap<string, EvictionPolicy> = new Map(
  [costAware, frequency, recency].map((policy) => [policy.name, policy]),
)

/** What replays compare them with; no engine can run these. */
export const offlinePolicies: ReadonlyMap<string, OfflinePolicy> = new Map([s3Fifo, belady].map((policy) => [policy.name, policy]))

/** Error: ERR_HYPURA_INVALID_ARGUMENT with the known ones. */
export function evictionPolicy(name: string): EvictionPolicy {
  const found = evictionPolicies.get(name)
  if (found !== undefined) return found
  const known = [...evictionPolicies.keys()]
  const near = nearest(name, known)
  throw new HypuraError(
    'ERR_HYPURA_INVALID_ARGUMENT',
    `"${name}" is not an eviction policy${near === undefined ? '' : `; did you mean "${near}"?`} Known: ${known.join(', ')}.`,
    { found: name, allowed: known, suggestion: near },
  )
}
