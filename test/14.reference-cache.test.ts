// What could break: the native expert pool keeps or evicts other blocks than its specification says, so that what policy
// computes is not what happens: a heap out of order, a tie broken otherwise, a clock that stands still.
// How we notice: the routes of a real streaming run are replayed through ReferenceCache; every eviction, its priority and age,
// and the numbers of hits and misses must be the native ones.
import { afterEach, expect, test } from 'vitest'
import { setImmediate as turn } from 'node:timers/promises'
import { decodeEvents, eventWords } from '../ts/engine/codec/events.js'
import { encodePlan } from '../ts/engine/codec/plan.js'
import { counters } from '../ts/engine/model-stats.js'
import type { LoadOptions } from '../ts/engine/index.js'
import type { EngineEvent, EvictEvent } from '../ts/prefetch/events.js'
import { noFollowers } from '../ts/prefetch/plan.js'
import { type Eviction, referenceCache } from '../ts/prefetch/reference-cache.js'
import { modelPath } from './support/run-cli.js'
import { bareEngine, type BareEngine, greedyRequest } from './support/streaming.js'

const path = modelPath('fable-moe-q8_0.gguf')
let bare: BareEngine | undefined
afterEach(() => bare?.native.close())

/** Scores by block id that are far from equal, with many ties among them. */
const unequal = (nBlocks: number): Float32Array => Float32Array.from({ length: nBlocks }, (_, id) => ((id * 37) % 11) / 4)

/** All events of a run of one position per sweep. */
async function recordRun({ native }: BareEngine, tokens: readonly number[], maxTokens: number): Promise<EngineEvent[]> {
  const events: EngineEvent[] = []
  const words = new Uint32Array(8192 * eventWords)
  const drain = (): void => {
    for (let count = native.drainEvents(words); count > 0; count = native.drainEvents(words)) events.push(...decodeEvents(words, count))
  }
  const sequence = native.createSequence()
  sequence.start(greedyRequest(tokens, { maxTokens }), () => undefined)
  while (sequence.state().phase !== 'done') {
    drain()
    await turn()
  }
  expect(sequence.state().error).toBeNull()
  drain()
  return events
}

/** Routes of one layer in one sweep, as the cache is asked: each expert once, ascending. */
function requestsOf(events: readonly EngineEvent[]): { sweep: number; layer: number; experts: number[] }[] {
  const requests: { sweep: number; layer: number; experts: number[] }[] = []
  for (const event of events) {
    if (event.kind !== 'route') continue
    const last = requests.at(-1)
    if (last !== undefined && last.sweep === event.sweep && last.layer === event.layer) last.experts.push(...event.experts)
    else requests.push({ sweep: event.sweep, layer: event.layer!, experts: [...event.experts] })
  }
  for (const { experts } of requests) experts.sort((a, b) => a - b)
  return requests
}

interface Case {
  readonly name: string
  readonly options: LoadOptions
  readonly scores: 'none' | 'unequal'
  /** Every which expert block is held. */
  readonly holdEvery?: number
}

const cases: readonly Case[] = [
  { name: 'no plan: equal scores', options: { memory: '12MiB' }, scores: 'none' },
  { name: 'unequal scores', options: { memory: '12MiB' }, scores: 'unequal' },
  { name: 'unequal scores, held blocks', options: { memory: '14MiB' }, scores: 'unequal', holdEvery: 23 },
  { name: 'a small pool', options: { memory: '9MiB', io: { backend: 'pread' } }, scores: 'unequal' },
  { name: 'one read at a time', options: { memory: '12MiB', io: { depth: 1 }, threads: 1 }, scores: 'unequal' },
]

test.each(cases)('native pool == ReferenceCache: $name', async ({ options, scores: kind, holdEvery }) => {
  bare = await bareEngine(path, { contextLength: 512, batchSize: 1, ...options })
  const { native, plan, description: { manifest, spec } } = bare
  const slots = plan.regions.poolSlots
  expect(slots).toBeGreaterThanOrEqual(spec.nExpertUsed)
  expect(slots).toBeLessThan(manifest.experts.count)
  const scores = kind === 'none' ? new Float32Array(manifest.blocks.count).fill(1) : unequal(manifest.blocks.count)
  const experts = Array.from({ length: manifest.experts.count }, (_, i) => manifest.experts.first + i)
  const hold = holdEvery === undefined ? [] : experts.filter((id) => id % holdEvery === 0).slice(0, Math.floor(slots / 2))
  const blockOf = new Map(experts.map((id) => [`${manifest.blocks.layer[id]}/${manifest.blocks.expert[id]}`, id]))
  if (kind !== 'none') {
    native.submitPlan(encodePlan({
      sequenceNumber: 2, pinCount: plan.regions.pinCount, prefillAdmission: 'bypass', scores, hold: Uint32Array.from(hold), warm: new Uint32Array(0), guessMode: 'shadow', guessesMax: 8, guessOrigin: 'router', followers: noFollowers,
    }, manifest.blocks.count))
  }
  const before = counters(native)
  const events = await recordRun(bare, [1, 2, 3, 4, 5, 6], 120)
  const after = counters(native)
  expect(after.eventsDropped).toBe(0)

  const cache = referenceCache(slots)
  cache.hold(hold)
  const expected: Eviction[] = []
  let misses = 0
  for (const { sweep, layer, experts: chosen } of requestsOf(events)) {
    expect(chosen).toHaveLength(spec.nExpertUsed)
    const outcome = cache.request(chosen.map((expert) => blockOf.get(`${layer}/${expert}`)!), { scores, sweep })
    expected.push(...outcome.evictions)
    misses += outcome.misses
  }
  const isExpert = (block: number): boolean => block >= manifest.experts.first && block < manifest.experts.first + manifest.experts.count
  const evicted = events.filter((event): event is EvictEvent => event.kind === 'evict' && isExpert(event.block))
  expect(expected.length).toBeGreaterThan(100)
  expect(evicted.map(({ block, replacedBy, priority, ageSweeps }) => ({ block, replacedBy, priority, ageSweeps })))
    .toEqual(expected.map((eviction) => ({ ...eviction, priority: Math.fround(eviction.priority) })))
  const reads = events.filter((event) => event.kind === 'read' && isExpert(event.block)).length
  expect(reads).toBe(misses)
  expect(after.misses - before.misses).toBeGreaterThanOrEqual(misses)
})
