// What could break: something that decides which experts are in memory when (the budget, a policy, guesses, a plan that is empty, was
// learnt elsewhere, or is nonsense) moves a logit; or what earlier runs learnt is not read in while loading.
// How we notice: one SHA-256 over all of them together, position by position as an answer is made; a second load must have in memory
// what the first one used, before it evaluates anything. HYPURA_LONG=1 covers all triples of settings instead of all pairs.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { RandomWords } from '../scripts/random-numbers.js'
import { habitsOf } from '../ts/engine/expert-habits.js'
import { describeModel, guessSources, loadModel, type LoadOptions, type ModelDescription, planModel } from '../ts/engine/index.js'
import { modelIdentity } from '../ts/engine/model-identity.js'
import { evictionPolicies } from '../ts/prefetch/eviction/index.js'
import { cover, logitsHash, testTokens } from './support/logits-hash.js'
import { modelPath } from './support/run-cli.js'

const path = modelPath('fable-moe-q8_0.gguf')
const positions = 40
const common = { batchSize: 1, threads: 2, elastic: false, contextLength: positions } as const satisfies LoadOptions
const folder = mkdtempSync(join(tmpdir(), 'hypura-placement-'))
const stateBefore = process.env['HYPURA_STATE_DIR']
afterEach(() => {
  if (stateBefore === undefined) delete process.env['HYPURA_STATE_DIR']
  else process.env['HYPURA_STATE_DIR'] = stateBefore
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let description: ModelDescription
let floorBytes: number
let modelBytes: number
beforeAll(async () => {
  description = await describeModel(path)
  const { floor, modelBytes: bytes } = await planModel(path, { ...common, memory: '1GiB' })
  floorBytes = floor.total
  modelBytes = bytes
})

const stateOf = (name: string): string => join(folder, name)

/** Where loads find what an earlier run learnt. */
async function lay(state: State): Promise<void> {
  process.env['HYPURA_STATE_DIR'] = state === 'none' ? 'off' : stateOf(state)
  rmSync(stateOf(state), { recursive: true, force: true }) // of the run before
  if (state === 'none' || state === 'empty') return
  const { count } = description.manifest.experts
  const words = new RandomWords(3, state)
  const uses = Float32Array.from({ length: count }, () => (state === 'random' ? words.uniform() * 100 : 0))
  // Stale: learnt from text in which each layer chose the same few.
  if (state === 'stale') for (let i = 0; i < count; i += 16) uses[i] = uses[i + 1] = 100
  expect(habitsOf(await modelIdentity(description.gguf), count).save({ uses, sweeps: 100 })).toBeUndefined()
}

const states = ['none', 'empty', 'stale', 'random'] as const
type State = (typeof states)[number]

interface Configuration {
  /** Of what lies between the floor and everything. */
  readonly share: number
  readonly eviction: NonNullable<LoadOptions['eviction']>
  readonly guess: NonNullable<LoadOptions['guess']>
  readonly guessSource: NonNullable<LoadOptions['guessSource']>
  readonly state: State
}

describe('one hash of the logits', () => {
  const all: Configuration[] = []
  for (const share of [0, 0.05, 0.25, 0.5, 0.75, 2])
    for (const eviction of [...evictionPolicies.keys()] as NonNullable<LoadOptions['eviction']>[])
      for (const guess of ['auto', 'off', 'shadow', 'retain', 'prefetch'] as const)
        for (const guessSource of guessSources) for (const state of states) all.push({ share, eviction, guess, guessSource, state })

  test('over budgets from the floor to resident, policies, guesses and whose they are, and plans that are empty, stale and random', async () => {
    process.env['HYPURA_STATE_DIR'] = 'off'
    const { sha256: expected, mode } = await logitsHash(path, { ...common, positions, memory: '1GiB' })
    expect(mode).toBe('resident')
    const streamed = new Map<string, number>()
    for (const configuration of cover(all, process.env['HYPURA_LONG'] === undefined ? 2 : 3)) {
      const { share, eviction, guess, guessSource, state } = configuration
      await lay(state)
      const run = await logitsHash(path, { ...common, positions, eviction, guess, guessSource, memory: Math.ceil(floorBytes + share * modelBytes) })
      expect(run.sha256, JSON.stringify(configuration)).toBe(expected)
      if (run.mode === 'stream' && run.missBytes > 0) for (const value of [eviction, guess, `by ${guessSource}`, state]) streamed.set(value, (streamed.get(value) ?? 0) + 1)
    }
    for (const value of [...evictionPolicies.keys(), 'auto', 'off', 'shadow', 'retain', 'prefetch', ...guessSources.map((source) => `by ${source}`), ...states]) expect(streamed.get(value), value).toBeGreaterThan(2)
  }, 600_000)
})

test('what an earlier run used is read in while loading, and asked for at once', async () => {
  process.env['HYPURA_STATE_DIR'] = stateOf('learnt')
  const memory = Math.ceil(floorBytes + 0.3 * modelBytes)
  const tokens = testTokens(description.spec.nVocab, positions)
  const run = async (): Promise<{ readonly loadBytes: number; readonly early: number }> => {
    await using model = await loadModel(path, { ...common, memory, guess: 'off' })
    const { loadBytes, loadBytesTotal } = model.stats()
    expect(loadBytes).toBe(loadBytesTotal)
    await using sequence = model.createSequence()
    await sequence.evaluate(tokens.slice(0, 2))
    const early = model.stats()
    await sequence.evaluate(tokens.slice(2))
    return { loadBytes, early: early.hits / (early.hits + early.misses) }
  }
  const first = await run()
  const second = await run()
  const { poolSlots, poolSlotBytes } = (await planModel(path, { ...common, memory })).regions
  expect(poolSlots).toBeGreaterThan(10)
  expect(second.loadBytes - first.loadBytes).toBeGreaterThan(0.8 * poolSlots * poolSlotBytes)
  expect(second.loadBytes - first.loadBytes).toBeLessThanOrEqual(poolSlots * poolSlotBytes)
  expect(second.early).toBeGreaterThan(first.early + 0.1)
})
