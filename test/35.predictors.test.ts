// What could break: events name the wrong sequence, position or absent expert, so that predictors learn and are judged by what did not
// happen; scores never reach a caller; what a client taught lies in a file.
// How we notice: absent experts are compared with the blocks that were really read in the same sweep, positions with the tokens given;
// a model that is streamed must report every source of guesses, and tell the same story.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { decodeEvents, eventWords } from '../ts/engine/codec/events.js'
import { loadModel, type SequenceOptions } from '../ts/engine/index.js'
import { decodeState } from '../ts/engine/state-store.js'
import type { EngineEvent } from '../ts/prefetch/events.js'
import { modelPath } from './support/run-cli.js'
import { bareEngine, type BareEngine, greedyRequest, nativeTokens } from './support/streaming.js'

const path = modelPath('fable-moe-q8_0.gguf')
/** About a third of the experts fit. */
const streaming = { memory: '12MiB', contextLength: 512, batchSize: 4, threads: 2 } as const
let bare: BareEngine
beforeAll(async () => {
  bare = await bareEngine(path, { ...streaming, sequencesMax: 2 })
})
afterAll(() => bare.native.close())

function drained(): EngineEvent[] {
  const words = new Uint32Array(65_536 * eventWords)
  return decodeEvents(words, bare.native.drainEvents(words))
}

test('a sweep says whose it is and where it stands; absent is what was read for it', async () => {
  drained()
  const sequences = [bare.native.createSequence(7), bare.native.createSequence()]
  const request = greedyRequest([1, 2, 3, 4, 5], { maxTokens: 40 })
  await Promise.all(sequences.map((sequence) => nativeTokens(sequence, request)))
  await Promise.all(sequences.map((sequence) => sequence.close()))
  const events = drained()
  const sweeps = events.filter((event) => event.kind === 'sweep')
  const [first, second] = [...new Set(sweeps.map(({ sequence }) => sequence))]
  expect([first, second]).toEqual([1, 2])
  for (const [number, client] of [[first, 7], [second, 0]]) {
    let position = 0
    for (const sweep of sweeps.filter(({ sequence }) => sequence === number)) {
      expect(sweep).toMatchObject({ client, firstPosition: position })
      position += sweep.positions
    }
    expect(position).toBe(5 + 39)
  }

  const { blocks, experts } = bare.description.manifest
  let absent = 0
  for (const { sweep, positions } of sweeps) {
    if (positions > 1) continue
    const own = events.filter((event) => event.sweep === sweep)
    const read = own.filter((event) => event.kind === 'read' && event.block >= experts.first && event.block < experts.first + experts.count)
      .map((event) => (event.kind === 'read' ? `${blocks.layer[event.block]} ${blocks.expert[event.block]}` : ''))
    const said = own.flatMap((event) => (event.kind === 'absent' ? event.experts.map((expert) => `${event.layer} ${expert}`) : []))
    expect(said.sort()).toEqual(read.sort())
    absent += said.length
    const routed = new Set(own.flatMap((event) => (event.kind === 'route' ? event.experts.map((expert) => `${event.layer} ${expert}`) : [])))
    for (const expert of said) expect(routed.has(expert)).toBe(true)
  }
  expect(absent).toBeGreaterThan(100)
})

test('what a named client teaches is not kept; what nobody\'s sequences teach is, and serves the next run', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-clients-'))
  vi.stubEnv('HYPURA_STATE_DIR', folder)
  const files = (): string[] => ['experts', 'relations'].filter((kind) => existsSync(join(folder, kind)))
  const bytes = (): string => files().map((kind) => readdirSync(join(folder, kind)).map((name) => readFileSync(join(folder, kind, name)).toString('hex')).join()).join()
  const run = async (client: string | undefined): Promise<{ text: string; learnt: number; firstPlans: number }> => {
    const model = await loadModel(path, streaming)
    const firstPlans = model.plansSubmitted
    const sequence = model.createSequence(client === undefined ? {} : { client })
    const { text } = await sequence.generate([1, 2, 3], { temperature: 0, maxTokens: 200, ignoreEndTokens: true })
    // Until enough was learnt to be kept: 64 choices of a layer.
    for (let round = 0; round < 200 && (model.guesses?.learnt ?? 0) <= 100; round++) {
      sequence.truncate(0)
      await sequence.generate([1, 2, 3], { temperature: 0, maxTokens: 200, ignoreEndTokens: true })
      await sleep(20)
    }
    await model.close()
    expect(model.warnings.filter((warning) => warning.includes(folder))).toEqual([])
    return { text, learnt: model.guesses!.learnt, firstPlans }
  }
  try {
    const named = await run('ann')
    expect(named.learnt).toBeGreaterThan(100)
    expect(files()).toEqual([])
    const nobody = await run(undefined)
    expect(nobody).toMatchObject({ text: named.text, firstPlans: 0 })
    expect(files()).toEqual(['experts', 'relations'])
    const kept = bytes()
    // A named client begins with the shared plan, and leaves what is kept as it was.
    expect(await run('bob')).toMatchObject({ text: named.text, firstPlans: 1 })
    expect(bytes()).toBe(kept)
    // And nobody's next sequence goes on from it.
    expect(await run(undefined)).toMatchObject({ text: named.text, firstPlans: 1 })
    expect(bytes()).not.toBe(kept)
  } finally {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true, force: true })
  }
})

test('of a run of both, nobody\'s tokens alone are kept', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-both-'))
  vi.stubEnv('HYPURA_STATE_DIR', folder)
  try {
    const model = await loadModel(path, { ...streaming, sequencesMax: 2 })
    const tell = async (options: SequenceOptions, maxTokens: number): Promise<void> => {
      await using sequence = model.createSequence(options)
      await sequence.generate([1, 2, 3], { temperature: 0, maxTokens, ignoreEndTokens: true })
    }
    await Promise.all([tell({}, 100), tell({ client: 'ann' }, 200)])
    await tell({ client: 'bob' }, 200)
    await model.close()
    const [file] = readdirSync(join(folder, 'experts'))
    const { sweeps } = decodeState(readFileSync(join(folder, 'experts', file!)), 'expert-use') as { readonly sweeps: number }
    // 500 sweeps, decayed by the half-life of 256, would be more than 200: so many are nobody's, its prompt among them.
    expect(sweeps).toBeGreaterThan(16)
    expect(sweeps).toBeLessThanOrEqual(101)
  } finally {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true, force: true })
  }
})

test('clients that are none are refused', async () => {
  await using model = await loadModel(path, streaming)
  for (const wrong of [{ client: '' }, { client: 'x'.repeat(257) }, { client: 7 }, { klient: 'ann' }]) {
    expect(() => model.createSequence(wrong as { client: string })).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_INVALID_ARGUMENT' }) as Error)
  }
  for (const client of [4.5, -1, 2 ** 32, '1', null]) expect(() => bare.native.createSequence(client as number)).toThrow(/client/)
})

test('every source of guesses is scored while a model tells a story, and none when guesses are off', async () => {
  const told: string[] = []
  for (const guess of ['auto', 'off'] as const) {
    await using model = await loadModel(path, { ...streaming, guess })
    await using sequence = model.createSequence()
    const tell = async (): Promise<string> => (await sequence.generate([1, 2, 3], { temperature: 0, maxTokens: 200, ignoreEndTokens: true })).text
    told.push(await tell())
    // The engine tells faster than the planner learns, and on a busy machine much faster: again, until enough was learnt.
    for (let round = 0; round < 200 && (guess === 'off' ? model.guesses === undefined : (model.guesses?.learnt ?? 0) <= 40); round++) {
      sequence.truncate(0)
      expect(await tell()).toBe(told[0])
      await sleep(20)
    }
    const report = model.guesses!
    expect(report.plannerMs).toBeGreaterThan(report.learningMs)
    if (guess === 'off') {
      expect(report).toMatchObject({ mode: 'off', scores: [], learnt: 0 })
      continue
    }
    expect(report.scores.map(({ name }) => name)).toEqual(['router', 'popular', 'previous-token', 'previous-layer', 'markov', 'co-activation'])
    expect(report.learnt).toBeGreaterThan(40)
    for (const { name, tokens, precision, recall, recallOfAbsent } of report.scores) {
      expect(tokens, name).toBeGreaterThan(10)
      for (const share of [precision, recall, recallOfAbsent!]) expect(share > 0 && share < 1, name).toBe(true)
      // Two of four that are chosen are named: no more than half of them can be found.
      expect(recall, name).toBeLessThanOrEqual(precision)
    }
    expect(report.scores[0]!.precision).toBeGreaterThan(report.scores[1]!.precision)
  }
  expect(told[0]).toBe(told[1])
})
