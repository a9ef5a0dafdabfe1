// What could break: the engine names other experts than the plan's table says, looks at another layer or at another sequence's token, or
// credits the router with what the table did; a predictor that acts moves a token, is never sent, or acts for nothing.
// How we notice: a second implementation in TypeScript foretells every guess from the events of the same run and the table that was sent,
// with two sequences in turn; each predictor is made to act, must read something that is used, and tells the story that no guess tells.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test, vi } from 'vitest'
import { decodeEvents, eventWords } from '../ts/engine/codec/events.js'
import { encodePlan } from '../ts/engine/codec/plan.js'
import { guessSources, loadModel } from '../ts/engine/index.js'
import type { EngineEvent } from '../ts/prefetch/events.js'
import { firstExperts } from '../ts/prefetch/expert-blocks.js'
import type { FollowTable } from '../ts/prefetch/plan.js'
import { firstPlan } from '../ts/prefetch/planner.js'
import { RandomWords } from '../scripts/random-numbers.js'
import { modelPath } from './support/run-cli.js'
import { bareEngine, greedyRequest, nativeTokens } from './support/streaming.js'

const path = modelPath('fable-moe-q8_0.gguf')
/** About a third of the experts fit. */
const streaming = { memory: '12MiB', contextLength: 512, batchSize: 4, threads: 2 } as const
const folder = mkdtempSync(join(tmpdir(), 'hypura-acting-'))
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

interface Score { guessed: number; correct: number; asked: number; absent: number; correctAbsent: number }

/** What the engine must say of a sweep's guesses. `chosen` and `absent`: by mixture layer, of this token; `before`: of the one before it, where that is known. */
function foretold(table: FollowTable, firsts: readonly number[], nExpert: number, most: number, chosen: readonly (readonly number[])[], absent: readonly (readonly number[])[], before: readonly (readonly number[])[] | undefined): Score {
  const score = { guessed: 0, correct: 0, asked: 0, absent: 0, correctAbsent: 0 }
  const rows = table.base.length
  for (let layer = 1; layer < chosen.length; layer++) {
    const sums = Array.from({ length: nExpert }, (_, expert) => table.base[firsts[layer]! + expert - table.firstBlock] ?? 0)
    table.relations.forEach(({ of, distance }, relation) => {
      const at = of === 'token' ? layer : layer - distance
      for (const expert of (of === 'token' ? before : chosen)?.[at] ?? []) {
        const row = firsts[at]! + expert - table.firstBlock
        if (row < 0 || row >= rows) continue
        for (let place = 0; place < table.width; place++) {
          const pair = ((relation * rows + row) * table.width + place) * 2
          if (table.followers[pair] !== 0xffff) sums[table.followers[pair]!]! += table.followers[pair + 1]!
        }
      }
    })
    const named = [...sums.keys()].filter((expert) => sums[expert]! > 0).sort((a, b) => sums[b]! - sums[a]! || a - b).slice(0, most)
    if (named.length === 0) continue // nothing was guessed, so nothing is judged
    score.guessed += named.length
    score.correct += named.filter((expert) => chosen[layer]!.includes(expert)).length
    score.asked += chosen[layer]!.length
    score.absent += absent[layer]!.length
    score.correctAbsent += named.filter((expert) => absent[layer]!.includes(expert)).length
  }
  return score
}

test.each(['shadow', 'prefetch'] as const)('the engine guesses what the table says, %s, two sequences in turn', async (guessMode) => {
  const bare = await bareEngine(path, { ...streaming, sequencesMax: 2 })
  try {
    const { manifest, spec } = bare.description
    const { experts } = manifest
    const firsts = [...firstExperts(manifest)].sort(([a], [b]) => a - b).map(([, block]) => block)
    const layers = [...firstExperts(manifest).keys()].sort((a, b) => a - b)
    const words = new RandomWords(7, guessMode)
    const most = 2
    let sweeps = 0
    for (let number = 2; number < 10; number++) {
      const relations: FollowTable['relations'] = [{ of: 'layer', distance: 1 + Math.floor(words.uniform() * 4) }, { of: 'token', distance: 1 }]
      const skipped = Math.floor(words.uniform() * 20)
      const base = Uint16Array.from({ length: experts.count - skipped - 3 }, () => (words.uniform() < 0.7 ? 0 : words.uniform() * 40))
      const width = 3
      const followers = Uint16Array.from({ length: relations.length * base.length * width * 2 }, (_, i) => (i % 2 === 1 ? words.uniform() * 50 : words.uniform() < 0.3 ? 0xffff : words.uniform() * spec.nExpert))
      const table: FollowTable = { relations, firstBlock: experts.first + skipped, base, width, followers }
      bare.native.submitPlan(encodePlan({ ...firstPlan(manifest, bare.plan.regions), sequenceNumber: number, guessMode, guessesMax: most, guessOrigin: 'table', followers: table }, manifest.blocks.count))
      const events: EngineEvent[] = []
      const drain = (): void => {
        const records = new Uint32Array(16_384 * eventWords)
        events.push(...decodeEvents(records, bare.native.drainEvents(records)))
      }
      drain()
      events.length = 0
      const sequences = [bare.native.createSequence(), bare.native.createSequence()]
      // Alone, then in turn with the other.
      await nativeTokens(sequences[0]!, greedyRequest([1, 2, 3], { maxTokens: 12 }))
      await Promise.all(sequences.map((sequence, i) => nativeTokens(sequence, greedyRequest([4 + i, 5, 6], { maxTokens: 12 }))))
      await Promise.all(sequences.map((sequence) => sequence.close()))
      drain()

      let former: { readonly sequence: number; readonly end: number; readonly chosen: readonly (readonly number[])[] | undefined } | undefined
      for (const head of events.filter((event) => event.kind === 'sweep')) {
        const own = events.filter(({ sweep }) => sweep === head.sweep)
        const listed = (kind: 'route' | 'absent', layer: number): number[] => own.flatMap((event) => (event.kind === kind && event.layer === layer ? event.experts : []))
        const chosen = layers.map((layer) => listed('route', layer))
        const guess = own.find((event) => event.kind === 'guess')
        if (head.positions > 1) {
          expect(guess).toBeUndefined()
        } else {
          const before = former?.sequence === head.sequence && former.end === head.firstPosition ? former.chosen : undefined
          const expected = foretold(table, firsts, spec.nExpert, most, chosen, layers.map((layer) => listed('absent', layer)), before)
          if (expected.asked === 0) expect(guess).toBeUndefined()
          else expect(guess).toMatchObject({ ...expected, mode: guessMode, origin: 'table' })
          sweeps++
        }
        former = { sequence: head.sequence, end: head.firstPosition + head.positions, chosen: head.positions === 1 ? chosen : undefined }
      }
    }
    expect(sweeps).toBeGreaterThan(200)
  } finally {
    await bare.native.close()
  }
})

test('each predictor acts when it is told to, for what nobody\'s sequences taught, and tells the same story', async () => {
  vi.stubEnv('HYPURA_STATE_DIR', folder)
  const request = { temperature: 0, maxTokens: 200, ignoreEndTokens: true } as const
  let told: string | undefined
  for (const guessSource of guessSources) {
    await using model = await loadModel(path, { ...streaming, guess: 'prefetch', guessSource })
    await using sequence = model.createSequence()
    const before = model.stats()
    const isDone = (): boolean => (model.guesses?.learnt ?? 0) > 100 && model.stats().guessUsedBytes > before.guessUsedBytes
    for (let round = 0; round < 200 && !(round > 0 && isDone()); round++) {
      sequence.truncate(0)
      const { text } = await sequence.generate([1, 2, 3], request)
      expect(text, guessSource).toBe(told ??= text)
      await sleep(20)
    }
    expect(model.guesses, guessSource).toMatchObject({ mode: 'prefetch', source: guessSource === 'auto' ? 'router' : guessSource, decided: undefined })
    const { guessReadBytes, guessUsedBytes, missBytes } = model.stats()
    expect(guessUsedBytes, guessSource).toBeGreaterThan(0)
    // The bound on reads in vain, whoever guesses: a share of what was needed, and some blocks at once.
    expect(guessReadBytes - guessUsedBytes, guessSource).toBeLessThanOrEqual(0.15 * missBytes + 32 * model.plan.regions.poolSlotBytes)
    expect(model.warnings.filter((warning) => /plan was refused|planner stopped/.test(warning))).toEqual([])
  }
})

test('a named client\'s tokens alone teach the engine nothing to act by', async () => {
  vi.stubEnv('HYPURA_STATE_DIR', 'off')
  await using model = await loadModel(path, { ...streaming, guess: 'prefetch', guessSource: 'popular' })
  await using sequence = model.createSequence({ client: 'ann' })
  for (let round = 0; round < 200 && (model.guesses?.learnt ?? 0) <= 100; round++) {
    sequence.truncate(0)
    await sequence.generate([1, 2, 3], { temperature: 0, maxTokens: 200, ignoreEndTokens: true })
    await sleep(20)
  }
  expect(model.guesses!.learnt).toBeGreaterThan(100)
  expect(model.guesses).toMatchObject({ source: 'popular' })
  expect(model.stats().guessed).toBe(0)
})
