/** The engine's own counters by name. A cheap snapshot: it never queues behind a token. */
import { counterCount, counterIndex } from '../native/layout.gen.js'
import type { NativeEngine } from '../native/native-binding.js'

export type ModelStats = { readonly [name in keyof typeof counterIndex]: number }

export function counters(engine: NativeEngine): ModelStats {
  const row = new Float64Array(counterCount)
  engine.counters(row)
  return Object.fromEntries(Object.entries(counterIndex).map(([name, index]) => [name, row[index]!])) as ModelStats
}
