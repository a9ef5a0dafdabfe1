// What could break: an aborted load leaves threads, files or memory behind, progress that never ends, a misspelt option that
// is silently ignored.
// How we notice: threads and descriptors of this process are counted before and after loads that were aborted at every stage
// of a model made for it; every wrong option must give its name and, where one is near, the right one.
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeModel } from '../scripts/make-model.js'
import { HypuraError, loadModel, type LoadOptions, type LoadProgress, processStats } from '../ts/engine/index.js'
import { modelPath } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-loading-'))
const big = join(folder, 'big.gguf')
const small = modelPath('fable-draft-q8_0.gguf')
beforeAll(() => makeModel({ arch: 'llama', quant: 'q4_0', out: big, seed: 3, layers: 6, width: 1024, heads: 8, kvHeads: 8, ff: 4096, vocab: 4096, context: 512 }))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const threads = (): number => readdirSync('/proc/self/task').length
/** Descriptors of model files. */
const openModels = (): number => readdirSync('/proc/self/fd').filter((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).endsWith('.gguf')
  } catch {
    return false // the descriptor of this very listing
  }
}).length

describe('aborting a load', () => {
  test('at any moment: the reason, and nothing is left behind', async () => {
    await (await loadModel(big, { memory: '256MiB' })).close()
    await sleep(50)
    const [threadsBefore, residentBefore] = [threads(), processStats().residentBytes]
    const slow = { memory: '256MiB', faults: 'delay=20:every=2:forever:1', io: { depth: 2 } } as const
    for (const moment of [-1, 0, 1, 3, 10, 30, 60, 90]) {
      const controller = new AbortController()
      const reason = new Error(`aborted after ${moment} ms`)
      if (moment < 0) controller.abort(reason)
      else setTimeout(() => controller.abort(reason), moment)
      await expect(loadModel(big, { ...slow, loadSignal: controller.signal })).rejects.toBe(reason)
      expect(openModels(), reason.message).toBe(0)
    }
    await sleep(50)
    expect(threads()).toBeLessThanOrEqual(threadsBefore)
    expect(processStats().residentBytes - residentBefore).toBeLessThan(64 * 2 ** 20)
    await using model = await loadModel(big, { memory: '256MiB' })
    await using sequence = model.createSequence()
    await sequence.evaluate([1, 2, 3])
  })

  test('a signal that comes after the load does nothing', async () => {
    const controller = new AbortController()
    await using model = await loadModel(small, { memory: '64MiB', loadSignal: controller.signal })
    controller.abort()
    await using sequence = model.createSequence()
    await sequence.evaluate([1])
  })
})

describe('progress', () => {
  test('rises and reaches all of it', async () => {
    const seen: LoadProgress[] = []
    await (await loadModel(big, { memory: '256MiB', faults: 'delay=25:all:forever', io: { depth: 2 }, onLoadProgress: (progress) => seen.push(progress) })).close()
    expect(seen.length).toBeGreaterThan(2)
    expect(seen.at(-1)).toMatchObject({ fraction: 1 })
    expect(seen.at(-1)!.bytes).toBeGreaterThan(2 ** 24)
    seen.reduce((before, next) => {
      expect(next.bytes).toBeGreaterThanOrEqual(before.bytes)
      return next
    })
  })

  test('a small model reports its end too', async () => {
    const fractions: number[] = []
    await (await loadModel(small, { memory: '64MiB', onLoadProgress: ({ fraction }) => fractions.push(fraction) })).close()
    expect(fractions.at(-1)).toBe(1)
  })

  test('a callback that throws ends the load with what it threw', async () => {
    const thrown = new Error('from the callback')
    for (const faults of [undefined, 'delay=25:all:forever']) {
      const load = loadModel(big, { memory: '256MiB', faults, io: { depth: 2 }, onLoadProgress: () => { throw thrown } })
      await expect(load).rejects.toBe(thrown)
      expect(openModels()).toBe(0)
    }
  })
})

describe('options', () => {
  const refused: readonly [options: unknown, message: RegExp][] = [
    [{ memroy: '1GiB' }, /"memroy"; did you mean "memory"/], [{ contextlength: 9 }, /did you mean "contextLength"/],
    [{ io: { bakend: 'uring' } }, /"bakend"; did you mean "backend"/], [{ gpu: true }, /unknown option "gpu"; known are memory/],
    [{ memory: NaN }, /memory/], [{ memory: -1 }, /memory/], [{ memory: 'lots' }, /lots/], [{ memory: {} }, /memory/], [{ memory: '' }, /./],
    [{ contextLength: 0 }, /contextLength/], [{ contextLength: '512' }, /contextLength/], [{ contextLength: 1.5 }, /contextLength/],
    [{ threads: Infinity }, /threads/], [{ threads: -2 }, /threads/], [{ sequencesMax: 1000 }, /sequencesMax/], [{ batchSize: 0 }, /batchSize/],
    [{ mode: 'fast' }, /mode/], [{ io: { backend: 'mmap' } }, /io\.backend/], [{ io: { depth: 65 } }, /io\.depth/], [{ eviction: 'lru' }, /eviction/],
    [{ mirrors: 'a.gguf' }, /mirrors/], [{ mirrors: [''] }, /mirrors/], [{ mirrors: [small], mode: 'mmap' }, /mode mmap/], [{ mirror: [small] }, /did you mean "mirrors"/],
    [{ loadSignal: {} }, /loadSignal/], [{ onLoadProgress: 5 }, /onLoadProgress.*function/], [{ faults: 7 }, /faults/], [null, /load options/], ['64MiB', /load options/],
  ]
  test.each(refused)('load: %j', async (options, message) => {
    const error: unknown = await loadModel(small, options as LoadOptions).then((model) => model.close(), (reason: unknown) => reason)
    expect(error).toBeInstanceOf(HypuraError)
    expect(['ERR_HYPURA_INVALID_ARGUMENT', 'ERR_HYPURA_USAGE']).toContain((error as HypuraError).code)
    expect((error as HypuraError).message).toMatch(message)
  })

  test('generate and evaluate', async () => {
    await using model = await loadModel(small, { memory: '64MiB', contextLength: 64 })
    await using sequence = model.createSequence()
    const wrong: readonly [options: object | null, message: RegExp][] = [
      [{ maxtokens: 5 }, /did you mean "maxTokens"/], [{ temprature: 1 }, /did you mean "temperature"/], [{ temperature: NaN }, /temperature/],
      [{ temperature: -1 }, /temperature/], [{ temperature: '1' }, /temperature/], [{ maxTokens: 0 }, /maxTokens/], [{ maxTokens: 2.5 }, /maxTokens/],
      [{ topP: 1.1 }, /topP/], [{ topK: -1 }, /topK/], [{ seed: 2 ** 32 }, /seed/], [{ seed: -1 }, /seed/], [{ repeatPenalty: 0 }, /repeatPenalty/],
      [{ stop: 'x' }, /stop/], [{ stop: [''] }, /stop/], [{ stop: Array.from({ length: 17 }, String) }, /stop/], [{ signal: {} }, /signal/], [null, /generate options/],
    ]
    for (const [options, message] of wrong) expect(() => sequence.generate('x', options as never), JSON.stringify(options)).toThrow(message)
    await expect(sequence.evaluate([1], undefined, { onprogress: () => undefined } as never)).rejects.toThrow(/did you mean "onProgress"/)
    expect(sequence.tokens).toEqual([])
  })

  test('a path that is no path', async () => {
    for (const path of [undefined, null, 5, '', join(folder, 'nothing.gguf'), folder]) {
      const error: unknown = await loadModel(path as string).catch((reason: unknown) => reason)
      expect(error, String(path)).toBeInstanceOf(HypuraError)
    }
  })
})
