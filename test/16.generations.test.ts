// What could break: an answer that nobody finishes reading keeps its sequence for ever, an abort loses or doubles tokens, a
// stop string over two tokens leaks into the text, a slow reader fills memory, a close in mid-answer hangs.
// How we notice: each way to begin, read, leave and end an answer, and after each the same sequence must go on as a fresh one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import { type GenerateOptions, type Generation, HypuraError, loadModel, type Model, type Sequence } from '../ts/engine/index.js'
import { modelPath } from './support/run-cli.js'
import { block } from './support/streaming.js'

const path = modelPath('fable-moe-q4_k_m.gguf')
/** So few that an answer of some hundred tokens cannot be done before it is read. */
const pendingTokensMax = 32
let model: Model
beforeAll(async () => {
  model = await loadModel(path, { memory: '64MiB', contextLength: 768, sequencesMax: 2, batchSize: 8 })
})
afterAll(() => model.close())

const text = 'Once upon a time'
const greedy = (maxTokens: number, more: GenerateOptions = {}): GenerateOptions => ({ maxTokens, pendingTokensMax, temperature: 0, ignoreEndTokens: true, ...more })
const longPrompt = (): number[] => Array.from({ length: 500 }, (_, i) => 300 + (i % 50))

/** Afterwards the sequence must be free, and its next tokens those that a fresh one gives for the same timeline. */
async function usable(sequence: Sequence): Promise<void> {
  const timeline = [...sequence.tokens, 5]
  const { tokens } = await sequence.generate([5], greedy(3))
  await using other = model.createSequence()
  expect((await other.generate(timeline, greedy(3))).tokens).toEqual(tokens)
}

async function withSequence(use: (sequence: Sequence) => Promise<void>): Promise<void> {
  await using sequence = model.createSequence()
  await use(sequence)
  await usable(sequence)
}

async function texts(generation: Generation): Promise<string[]> {
  const pieces: string[] = []
  for await (const chunk of generation) if (chunk.type === 'text') pieces.push(chunk.text)
  return pieces
}

const codeOf = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', (error: unknown) => (error instanceof HypuraError ? error.code : error))

describe('reading', () => {
  test('chunks, text stream and promise tell the same', () => withSequence(async (sequence) => {
    const awaited = await sequence.generate(text, greedy(30))
    expect(awaited.tokens).toHaveLength(30)
    sequence.truncate(0)
    const generation = sequence.generate(text, greedy(30))
    const kinds: string[] = []
    let joined = ''
    for await (const chunk of generation) {
      kinds.push(chunk.type)
      joined += chunk.text
      if (chunk.type === 'finish') expect(chunk.result).toBe(await generation)
    }
    expect(kinds.at(-1)).toBe('finish')
    expect(joined).toBe(awaited.text)
    sequence.truncate(0)
    joined = ''
    for await (const piece of sequence.generate(text, greedy(30)).textStream()) joined += piece
    expect(joined).toBe(awaited.text)
  }))

  test('the same seed gives the same text, another one another', () => withSequence(async (sequence) => {
    const answer = async (seed: number): Promise<string> => {
      sequence.truncate(0)
      return (await sequence.generate(text, { maxTokens: 40, temperature: 1.2, seed })).text
    }
    expect(await answer(7)).toBe(await answer(7))
    expect(await answer(7)).not.toBe(await answer(8))
    sequence.truncate(0)
    const drawn = await sequence.generate(text, { maxTokens: 20 })
    expect(drawn.seed).toBeGreaterThanOrEqual(0)
  }))

  test('reading twice is an error, awaiting twice is not', () => withSequence(async (sequence) => {
    const generation = sequence.generate(text, greedy(4))
    const [first, second] = await Promise.all([generation, generation])
    expect(first).toBe(second)
    expect(() => generation[Symbol.asyncIterator]()).toThrow(/being read/)
  }))

  test('a slow reader pauses the engine', () => withSequence(async (sequence) => {
    let read = 0
    let ahead = 0
    const before = model.stats().tokens
    for await (const chunk of sequence.generate(text, greedy(150))) {
      if (chunk.type !== 'text') continue
      read += chunk.tokens.length
      if (read < 100) await sleep(60)
      ahead = Math.max(ahead, model.stats().tokens - before - read)
    }
    expect(read).toBe(150)
    expect(ahead).toBeGreaterThan(pendingTokensMax / 2)
    expect(ahead).toBeLessThanOrEqual(pendingTokensMax)
  }))
})

test('an event loop that is blocked stops no answer, unless the caller says how far ahead', () => withSequence(async (sequence) => {
  const count = 300
  for (const [wanted, least, most] of [[undefined, count, count], [40, 1, 40]] as const) {
    sequence.truncate(0)
    const before = model.stats().tokens
    const generation = sequence.generate(text, greedy(count, { pendingTokensMax: wanted }))
    const ahead = (): number => model.stats().tokens - before
    for (let i = 0; i < 100 && ahead() < most; i++) block(100)
    block(200)
    expect(ahead()).toBeGreaterThanOrEqual(least)
    expect(ahead()).toBeLessThanOrEqual(most)
    expect((await generation).tokens).toHaveLength(count)
  }
  for (const pendingTokensMax of [0, 4097, 1.5]) {
    expect(() => sequence.generate(text, { pendingTokensMax })).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_INVALID_ARGUMENT' }) as Error)
  }
}))

describe('leaving', () => {
  test('break cancels; what was delivered is the timeline', () => withSequence(async (sequence) => {
    const generation = sequence.generate(text, greedy(600))
    const prompt = sequence.tokens.length
    const delivered: number[] = []
    for await (const chunk of generation) {
      if (chunk.type === 'text') delivered.push(...chunk.tokens.map(({ id }) => id))
      if (delivered.length > 5) break
    }
    const result = await generation
    expect(result.reason).toBe('aborted')
    expect(result.tokens).toEqual(delivered)
    expect(sequence.tokens.slice(-delivered.length)).toEqual(delivered)
    expect(prompt).toBe(0)
  }))

  test('cancel() while somebody awaits, reads, or nobody does', async () => {
    const awaited = (generation: Generation): Promise<string> => {
      const result = Promise.resolve(generation)
      setTimeout(() => generation.cancel(), 30)
      return result.then(({ reason }) => reason)
    }
    const iterated = async (generation: Generation): Promise<string> => {
      for await (const chunk of generation) if (chunk.type === 'text') generation.cancel()
      return (await generation).reason
    }
    const unread = async (generation: Generation): Promise<string> => {
      generation.cancel()
      let reason = ''
      for await (const chunk of generation) if (chunk.type === 'finish') ({ reason } = chunk.result)
      return reason
    }
    const forgotten = async (generation: Generation): Promise<string> => {
      generation.cancel()
      await sleep(200)
      return 'aborted'
    }
    const neverBegun = async (generation: Generation): Promise<string> => {
      await generation.textStream().return!()
      return (await generation).reason
    }
    for (const leave of [awaited, iterated, unread, forgotten, neverBegun]) {
      await withSequence(async (sequence) => expect(await leave(sequence.generate(text, greedy(700))), leave.name).toBe('aborted'))
    }
  })
})

describe('the abort signal', () => {
  /** Abort when a chunk of this type comes; undefined: before anyone reads. The engine cannot be done by then: it pauses. */
  const moments = [['in prefill', 'prompt-progress'], ['in decode', 'text'], ['before anyone reads', undefined]] as const

  test.each(moments)('%s: rejects with the reason; with stopOnAbortSignal it ends', (_, moment) => withSequence(async (sequence) => {
    for (const stopOnAbortSignal of [false, true]) {
      const controller = new AbortController()
      const generation = sequence.generate(longPrompt(), greedy(200, { signal: controller.signal, stopOnAbortSignal }))
      const abort = (): void => controller.abort(new Error('my reason'))
      if (moment === undefined) abort()
      const read = (async () => {
        for await (const chunk of generation) if (chunk.type === moment) abort()
      })()
      if (stopOnAbortSignal) {
        await read
        expect((await generation).reason).toBe('aborted')
      } else {
        await expect(read).rejects.toThrow('my reason')
        await expect(Promise.resolve(generation)).rejects.toThrow('my reason')
      }
      sequence.truncate(0)
    }
  }))

  test('before the start', () => withSequence(async (sequence) => {
    await sequence.evaluate([1, 2, 3])
    const signal = AbortSignal.abort(new Error('my reason'))
    expect(() => sequence.generate(text, { signal })).toThrow('my reason')
    expect(() => sequence.generateFrom([9, 9], { signal })).toThrow('my reason')
    await expect(sequence.evaluate([4], undefined, { signal })).rejects.toThrow('my reason')
    expect(sequence.tokens).toEqual([1, 2, 3])
    const result = await sequence.generate(text, greedy(9, { signal, stopOnAbortSignal: true }))
    expect([result.reason, result.text, sequence.tokens.length]).toEqual(['aborted', '', 3])
  }))

  test('a token that was sampled last survives an aborted prompt', () => withSequence(async (sequence) => {
    await sequence.generate(text, greedy(5))
    const before = [...sequence.tokens]
    const signal = AbortSignal.abort()
    await sequence.generate(longPrompt(), greedy(9, { signal, stopOnAbortSignal: true }))
    expect(sequence.tokens).toEqual(before)
  }))

  test('in mid-evaluation: what was evaluated stays', () => withSequence(async (sequence) => {
    const controller = new AbortController()
    const running = sequence.evaluate(longPrompt(), () => sleep(1), { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('my reason')), 20)
    await expect(running).rejects.toThrow('my reason')
    expect(sequence.tokens).toEqual(longPrompt().slice(0, sequence.tokens.length))
    await expect(sequence.evaluate([1, 2], () => { throw new Error('from the sink') })).rejects.toThrow('from the sink')
  }))
})

test('a stop string over token borders ends text and timeline where it ends', () => withSequence(async (sequence) => {
  const full = await sequence.generate(text, greedy(60))
  const begin = [...sequence.tokens].length - full.tokens.length
  for (const from of [10, 23, 41]) {
    const stop = full.text.slice(from, from + 9)
    const at = full.text.indexOf(stop)
    sequence.truncate(0)
    const pieces: string[] = []
    const generation = sequence.generate(text, greedy(60, { stop: ['never said', stop] }))
    for await (const chunk of generation) pieces.push(chunk.text)
    const result = await generation
    expect([result.reason, result.stopString, result.text]).toEqual(['stop-string', stop, full.text.slice(0, at)])
    expect(pieces.join('')).toBe(result.text)
    // The timeline ends with the token that completes the stop string, not with what the engine had sampled ahead.
    expect(result.tokens).toEqual(full.tokens.slice(0, result.tokens.length))
    expect(sequence.tokens.slice(begin)).toEqual(result.tokens)
    const decoder = new TextDecoder()
    const bytes = (count: number): string => result.tokens.slice(0, count).map((id) => decoder.decode(model.tokenizer.tokenBytes(id))).join('')
    expect(bytes(result.tokens.length)).toContain(stop)
    expect(bytes(result.tokens.length - 1)).not.toContain(stop)
  }
}))

test('closing the model in mid-answer ends every answer, and everything afterwards is "closed"', async () => {
  const own = await loadModel(path, { memory: '64MiB', contextLength: 768, sequencesMax: 2 })
  const [one, two] = [own.createSequence(), own.createSequence()]
  const generation = one.generate(text, greedy(700))
  const read = texts(generation)
  const evaluation = codeOf(two.evaluate(longPrompt(), () => sleep(1)))
  await sleep(60)
  await Promise.all([own.close(), own.close()])
  await read
  expect((await generation).reason).toBe('aborted')
  expect(await evaluation).toBe('ERR_HYPURA_CANCELLED')
  for (const call of [() => one.generate('x'), () => own.createSequence(), () => own.stats()]) expect(call).toThrow(/closed/)
})
