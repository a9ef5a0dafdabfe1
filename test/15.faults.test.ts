// What could break: a read that fails, comes short, late or shuffled, or a file that changes under the engine, ends in wrong
// weights, a crash or a wait without end.
// How we notice: what passes must leave the hash of the logits as it is; what stays must end, within the test's time, in a
// typed error that names errno, file and place; and afterwards this process loads the model anew and gets the same hash.
import { closeSync, copyFileSync, mkdtempSync, openSync, renameSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeModel, type GenerationResult, HypuraError, loadModel } from '../ts/engine/index.js'
import { fromNative } from '../ts/engine/native-errors.js'
import { logitsHash, testTokens } from './support/logits-hash.js'
import { modelPath } from './support/run-cli.js'
import { bareEngine, greedyRequest, openDescribed } from './support/streaming.js'

const moe = modelPath('fable-moe-q4_k_m.gguf')
const streaming = { memory: '9MiB', batchSize: 4, threads: 2 } as const
const positions = 32
const EIO = 5
const folder = mkdtempSync(join(tmpdir(), 'hypura-faults-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A copy that a test may spoil. */
function copy(name: string): string {
  const path = join(folder, name)
  copyFileSync(moe, path)
  return path
}

const hashUnder = (faults?: string, path = moe): ReturnType<typeof logitsHash> => logitsHash(path, { ...streaming, positions, faults })
let expected: string
/** Reads of the load alone: faults from there on meet a running engine. */
let loadReads: number
beforeAll(async () => {
  const run = await hashUnder()
  expect(run.mode).toBe('stream')
  expected = run.sha256
  await using model = await loadModel(moe, { ...streaming, contextLength: positions })
  loadReads = model.stats().reads
  expect(loadReads).toBeGreaterThan(5)
})

async function errorOf(promise: Promise<unknown>): Promise<HypuraError> {
  const error: unknown = await promise.then(() => new Error('it passed'), (reason: unknown) => reason)
  expect(error, String(error)).toBeInstanceOf(HypuraError)
  return error as HypuraError
}

describe('faults that pass leave the logits as they are', () => {
  const passing = [
    'eio:at=3:once', 'eio:every=9:once:3', 'short:every=3:forever:1', 'short=1:every=7:once', 'delay=3:every=4:forever:2', 'reorder:every=2:forever:5',
    'duplicate:every=5:forever:6', 'enomem:every=11:once', 'eio:every=20:once:1;short:every=4:forever:2;delay=1:every=6:forever:3;reorder:every=3:forever:4',
  ]
  test.each(passing.flatMap((faults) => [[faults, 'uring'] as const, [faults, 'pread'] as const]))('%s, %s', async (faults, backend) => {
    const run = await logitsHash(moe, { ...streaming, positions, faults, io: { backend } })
    expect(run.sha256).toBe(expected)
  })

  test('in a running engine too, and the retries are counted', async () => {
    await using model = await loadModel(moe, { ...streaming, contextLength: positions, faults: [0, 7, 13].map((n) => `eio:at=${loadReads + n}:once`).join(';') })
    await using sequence = model.createSequence()
    await sequence.evaluate(testTokens(model.description.spec.nVocab, positions))
    expect(model.stats().retries).toBe(3)
  })
})

describe('faults that stay end in a typed error', () => {
  test('EIO while loading: errno, file and place', async () => {
    for (const faults of ['eio:all:forever', 'eio:at=2:forever']) {
      const error = await errorOf(loadModel(moe, { ...streaming, faults }))
      expect(error.code).toBe('ERR_HYPURA_IO')
      expect(error.details).toMatchObject({ path: moe, errno: EIO })
      expect(error.details['offset']).toBeGreaterThanOrEqual(0)
      expect(error.details['offset']).toBeLessThan(statSync(moe).size)
      expect(error.message).toMatch(/EIO/)
    }
    expect((await hashUnder()).sha256).toBe(expected)
  })

  test('EIO in a running engine: the request fails, the timeline tells what was evaluated, another model works', async () => {
    await using model = await loadModel(moe, { ...streaming, contextLength: 512, faults: `eio:after=${loadReads + 40}:forever` })
    await using sequence = model.createSequence()
    const told: number[] = []
    const error = await errorOf((async () => {
      for await (const chunk of sequence.generate([1, 2, 3], { temperature: 0, ignoreEndTokens: true })) if (chunk.type === 'text') told.push(...chunk.tokens.map(({ id }) => id))
    })())
    expect(error.code).toBe('ERR_HYPURA_IO')
    expect(error.details).toMatchObject({ path: moe, errno: EIO })
    expect(error.details['offset']).toBeGreaterThanOrEqual(0)
    expect(sequence.tokens.slice(3)).toEqual(told)
    // The drive is still gone: an error again, not a hang, and closing works.
    expect((await errorOf(sequence.evaluate(testTokens(300, 20)))).code).toBe('ERR_HYPURA_IO')
    expect((await hashUnder()).sha256).toBe(expected)
  })

  test('after a bad place was left alone, the same engine goes on with the same tokens', async () => {
    const prompt = testTokens(300, 40)
    const run = async (faults?: string): Promise<{ result: GenerationResult; failures: number }> => {
      await using model = await loadModel(moe, { ...streaming, contextLength: 512, faults })
      await using sequence = model.createSequence()
      let failures = 0
      for (;;) {
        try {
          return { result: await sequence.generateFrom(prompt, { temperature: 0, maxTokens: 30, ignoreEndTokens: true }), failures }
        } catch (error) {
          expect((error as HypuraError).code).toBe('ERR_HYPURA_IO')
          if (++failures > 20) throw error
        }
      }
    }
    // So many in a row that some read fails four times: the first time and all its retries.
    const faults = Array.from({ length: 40 }, (_, n) => `eio:at=${loadReads + 10 + n}:once`).join(';')
    const [good, bad] = [await run(), await run(faults)]
    expect(bad.failures).toBeGreaterThan(0)
    expect(bad.result.tokens).toEqual(good.result.tokens)
  })

  test('the end of the file before its end, once or for ever: the model was changed', async () => {
    for (const faults of ['eof:at=2:once', 'eof:all:forever', `eof:after=${loadReads + 5}:forever`]) {
      const error = await errorOf(hashUnder(faults))
      expect(error.code).toBe('ERR_HYPURA_MODEL_CHANGED')
      expect(error.details).toMatchObject({ path: moe })
      expect(error.details['offset']).toBeGreaterThanOrEqual(0)
    }
  })

  test('a schedule that cannot be read is refused', async () => {
    expect((await errorOf(loadModel(moe, { ...streaming, faults: 'eio:sometimes' }))).code).toBe('ERR_HYPURA_INVALID_ARGUMENT')
  })
})

describe('a file that changes', () => {
  /** In place, same size: only time stamps and bytes differ. */
  function scribble(path: string): void {
    const file = openSync(path, 'r+')
    writeSync(file, Buffer.alloc(4096, 7), 0, 4096, statSync(path).size - 8192)
    closeSync(file)
  }
  const other = modelPath('fable-draft-q8_0.gguf')
  const changes: readonly [name: string, change: (path: string) => void][] = [
    ['cut to half', (path) => truncateSync(path, statSync(path).size / 2)],
    ['emptied', (path) => writeFileSync(path, '')],
    ['written over', scribble],
    ['grown', (path) => writeFileSync(path, 'x', { flag: 'a' })],
    ['replaced by another model', (path) => { copyFileSync(other, `${path}.new`); renameSync(`${path}.new`, path) }],
    ['replaced by the same model', (path) => { copyFileSync(moe, `${path}.new`); renameSync(`${path}.new`, path) }],
    ['gone', (path) => rmSync(path)],
  ]

  test.each(changes)('%s between its description and the load', async (name, change) => {
    const path = copy(`early-${name.replaceAll(' ', '-')}.gguf`)
    const description = await describeModel(path)
    change(path)
    const error = await errorOf(openDescribed(description, { ...streaming, contextLength: 64 }).catch((reason: unknown) => {
      throw fromNative(reason, [path])
    }))
    expect(['ERR_HYPURA_MODEL_CHANGED', 'ERR_HYPURA_IO']).toContain(error.code)
    expect(error.details['path']).toBe(path)
  })

  test.each(changes)('%s between two requests and in mid-answer: an error, or the tokens of the file that was loaded', async (name, change) => {
    const ask = { temperature: 0, maxTokens: 250, ignoreEndTokens: true } as const
    const options = { ...streaming, contextLength: 512 }
    await using good = await loadModel(moe, options)
    await using truth = good.createSequence()
    const { tokens } = await truth.generate([1, 2, 3], ask)
    for (const moment of ['between', 'within'] as const) {
      const path = copy(`${moment}-${name.replaceAll(' ', '-')}.gguf`)
      await using model = await loadModel(path, options)
      await using sequence = model.createSequence()
      if (moment === 'between') change(path)
      const told: number[] = []
      let outcome = 'the tokens'
      try {
        for await (const chunk of sequence.generate([1, 2, 3], ask)) {
          if (chunk.type !== 'text') continue
          if (moment === 'within' && told.length === 0) change(path)
          told.push(...chunk.tokens.map(({ id }) => id))
        }
      } catch (error) {
        outcome = (error as HypuraError).code
      }
      expect(['the tokens', 'ERR_HYPURA_MODEL_CHANGED', 'ERR_HYPURA_IO']).toContain(outcome)
      // Bytes written over an open file are the one change that nobody can see before the next request begins.
      if (!(name === 'written over' && moment === 'within')) expect(told).toEqual(tokens.slice(0, told.length))
      if (outcome === 'the tokens') expect(told).toHaveLength(ask.maxTokens)
      if (moment === 'between' && /cut|emptied|written|grown/.test(name)) expect(outcome).toBe('ERR_HYPURA_MODEL_CHANGED')
      if (moment === 'within' && /cut|emptied|written|grown/.test(name)) {
        expect((await errorOf(Promise.resolve(sequence.generate([4], ask)))).code).toBe('ERR_HYPURA_MODEL_CHANGED')
      }
    }
  })
})

test('closing does not wait for more than the reads that are on their way', async () => {
  const { native } = await bareEngine(moe, { ...streaming, contextLength: 64, faults: `delay=300:after=${loadReads}:forever` })
  const sequence = native.createSequence()
  sequence.start(greedyRequest([1, 2, 3], { maxTokens: 60 }), () => undefined)
  await sleep(50)
  expect(sequence.state().phase).not.toBe('done')
  const began = performance.now()
  await native.close()
  expect(performance.now() - began).toBeLessThan(3000)
  expect(sequence.state()).toMatchObject({ phase: 'done', finishReason: 'cancelled' })
})
