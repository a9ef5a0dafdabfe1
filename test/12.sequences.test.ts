// What could break: the timeline of a sequence and its KV pages drift apart: a token evaluated twice or never, a cut in the
// wrong place, a refused request that has forgotten half of the conversation. The text would still look like text.
// How we notice: greedy decoding is a function of the timeline, so a fresh sequence that is given the whole timeline at once
// is the second implementation of every way to grow, cut and reuse one.
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HypuraError, loadModel, type GenerateOptions, type Model, type Sequence } from '../ts/engine/index.js'
import { modelPath } from './support/run-cli.js'

const contextLength = 96
let model: Model
beforeAll(async () => {
  model = await loadModel(modelPath('fable-draft-q8_0.gguf'), { memory: '64MiB', contextLength, sequencesMax: 4, batchSize: 16 })
})
afterAll(() => model.close())

const greedy = (maxTokens: number, more: GenerateOptions = {}): GenerateOptions => ({ maxTokens, temperature: 0, ignoreEndTokens: true, ...more })
const prompt = (): number[] => [...model.tokenizer.encode('Once upon a time', { addSpecial: true })]

async function withSequence<T>(use: (sequence: Sequence) => Promise<T>): Promise<T> {
  await using sequence = model.createSequence()
  return await use(sequence)
}

/** The second implementation: the whole timeline, in a sequence that knows nothing. */
const fresh = (timeline: readonly number[], count: number): Promise<readonly number[]> =>
  withSequence(async (sequence) => (await sequence.generate(timeline, greedy(count))).tokens)

async function errorOf(call: () => unknown): Promise<HypuraError> {
  try {
    await call()
  } catch (error) {
    expect(error).toBeInstanceOf(HypuraError)
    return error as HypuraError
  }
  throw new Error('accepted')
}

describe('one timeline', () => {
  test('two requests are one long one: the last sampled token is evaluated with the next', () => withSequence(async (sequence) => {
    const whole = await fresh(prompt(), 20)
    const first = await sequence.generate(prompt(), greedy(7))
    expect(sequence.tokens).toEqual([...prompt(), ...first.tokens])
    const second = await sequence.generate([], greedy(13))
    expect([...first.tokens, ...second.tokens]).toEqual(whole)
    expect(sequence.tokens).toEqual([...prompt(), ...whole])
    expect([second.usage.promptTokens, second.usage.completionTokens]).toEqual([0, 13])
  }))

  test('whatever is appended, cut and generated: the next tokens are those of a fresh sequence', async () => {
    const ids = fc.array(fc.nat(600), { minLength: 1, maxLength: 9 })
    const step = fc.oneof(
      fc.record({ kind: fc.constant('generate' as const), ids, count: fc.integer({ min: 1, max: 5 }) }),
      fc.record({ kind: fc.constant('evaluate' as const), ids }),
      fc.record({ kind: fc.constant('from' as const), ids, keep: fc.nat(60), count: fc.integer({ min: 1, max: 5 }) }),
      fc.record({ kind: fc.constant('truncate' as const), keep: fc.nat(60) }),
    )
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => withSequence(async (sequence) => {
      let timeline: number[] = []
      for (const next of steps) {
        if (next.kind === 'truncate') {
          sequence.truncate(next.keep)
          timeline = timeline.slice(0, next.keep)
        } else if (next.kind === 'evaluate') {
          await sequence.evaluate(next.ids)
          timeline.push(...next.ids)
        } else {
          const given = next.kind === 'from' ? [...timeline.slice(0, next.keep), ...next.ids] : next.ids
          const { tokens } = await (next.kind === 'from' ? sequence.generateFrom(given, greedy(next.count)) : sequence.generate(given, greedy(next.count)))
          timeline = next.kind === 'from' ? [...given, ...tokens] : [...timeline, ...given, ...tokens]
        }
        expect(sequence.tokens).toEqual(timeline)
      }
      const last = await sequence.generate([5], greedy(3))
      expect(last.tokens).toEqual(await fresh([...timeline, 5], 3))
    })), { numRuns: 25 })
  })

  test('generateFrom keeps the common prefix, evaluates the rest, and says how much it kept', () => withSequence(async (sequence) => {
    const { tokens } = await sequence.generate(prompt(), greedy(10))
    const timeline = [...prompt(), ...tokens.slice(0, 4), 17, 18]
    const before = model.stats().positions
    const answer = await sequence.generateFrom(timeline, greedy(6))
    expect(answer.tokens).toEqual(await fresh(timeline, 6))
    expect(answer.usage).toEqual({ promptTokens: timeline.length, cachedTokens: prompt().length + 4, completionTokens: 6 })
    expect(model.stats().positions - before).toBe(2 + 5 + timeline.length + 5)
    // The same timeline again: at least its last token is evaluated, because its logits are wanted.
    const again = await sequence.generateFrom(timeline, greedy(6))
    expect(again.tokens).toEqual(answer.tokens)
    expect(again.usage.cachedTokens).toBe(timeline.length - 1)
  }))

  test('the logits of every position reach the sink once, in order, a pending token among them', () => withSequence(async (sequence) => {
    const { tokens } = await sequence.generate(prompt(), greedy(3))
    const seen: number[] = []
    await sequence.evaluate([7, 8, 9], (rows, first, count) => {
      expect(rows.length).toBe(count * model.description.spec.nVocab)
      for (let i = 0; i < count; i++) seen.push(first + i)
    })
    const length = prompt().length + tokens.length
    expect(seen).toEqual([length - 1, length, length + 1, length + 2])
    await sequence.evaluate([])
    expect(sequence.tokens).toHaveLength(length + 3)
  }))
})

describe('the end of the context', () => {
  test('a prompt that does not fit is refused with both numbers, and nothing is forgotten', () => withSequence(async (sequence) => {
    await sequence.generate(prompt(), greedy(4))
    const before = [...sequence.tokens]
    const long = Array.from({ length: contextLength }, (_, i) => 300 + i)
    for (const call of [() => sequence.generate(long), () => sequence.evaluate(long)]) {
      const error = await errorOf(call)
      expect(error.code).toBe('ERR_HYPURA_CONTEXT_OVERFLOW')
      expect(error.details).toMatchObject({ need: before.length + contextLength, have: contextLength })
    }
    const error = await errorOf(() => sequence.generateFrom([...long, 1]))
    expect(error.details).toMatchObject({ need: contextLength + 1, have: contextLength })
    expect(sequence.tokens).toEqual(before)
    expect((await sequence.generate([], greedy(3))).tokens).toEqual(await fresh(before, 3))
  }))

  test('maxTokens ends with "length", the context with "context-full", after every position was used', () => withSequence(async (sequence) => {
    expect((await sequence.generate(prompt(), greedy(4))).reason).toBe('length')
    const rest = await sequence.generate([], { temperature: 0, ignoreEndTokens: true })
    expect(rest.reason).toBe('context-full')
    // The last token needs no place: it is not evaluated.
    expect(sequence.tokens).toHaveLength(contextLength + 1)
    expect((await errorOf(() => sequence.generate([1]))).code).toBe('ERR_HYPURA_CONTEXT_OVERFLOW')
    expect((await sequence.generateFrom(sequence.tokens.slice(0, contextLength), greedy(9))).reason).toBe('context-full')
    sequence.truncate(8)
    expect((await sequence.generate([3], greedy(2))).tokens).toEqual(await fresh([...sequence.tokens.slice(0, 8), 3], 2))
  }))

  test('exactly as many tokens as fit is no overflow', () => withSequence(async (sequence) => {
    const full = Array.from({ length: contextLength }, (_, i) => 300 + i)
    const { tokens, reason } = await sequence.generate(full, greedy(1))
    expect([tokens.length, reason]).toEqual([1, 'length'])
  }))
})

describe('refusals leave the sequence as it was', () => {
  const wrong: readonly [name: string, call: (sequence: Sequence) => unknown][] = [
    ['an empty prompt', (sequence) => sequence.generate([])],
    ['an empty timeline', (sequence) => sequence.generateFrom([])],
    ['a negative id', (sequence) => sequence.generate([1, -1])],
    ['an id behind the vocabulary', (sequence) => sequence.generate([2 ** 31])],
    ['half an id', (sequence) => sequence.evaluate([1.5])],
    ['no number', (sequence) => sequence.generateFrom([NaN])],
    ['a hole', (sequence) => sequence.generate(Array.from({ length: 3 }) as number[])],
    ['no prompt at all', (sequence) => sequence.generate(undefined as never)],
    ['null', (sequence) => sequence.generateFrom(null as never)],
    ['half a position', (sequence) => sequence.truncate(1.5)],
    ['a position before the first', (sequence) => sequence.truncate(-1)],
    ['text as a sink option', (sequence) => sequence.evaluate([1], undefined, { onProgress: 'x' as never })],
  ]
  test.each(wrong)('%s', (_, call) => withSequence(async (sequence) => {
    if (_ !== 'an empty prompt') await sequence.evaluate(prompt())
    const before = [...sequence.tokens]
    expect((await errorOf(() => call(sequence))).code).toBe('ERR_HYPURA_INVALID_ARGUMENT')
    expect(sequence.tokens).toEqual(before)
    expect((await sequence.generate([9], greedy(2))).tokens).toEqual(await fresh([...before, 9], 2))
  }))

  test('busy, closed, and one sequence more than was budgeted', async () => {
    const sequence = model.createSequence()
    const running = sequence.generate(prompt(), greedy(20))
    for (const call of [() => sequence.generate([1]), () => sequence.generateFrom([1]), () => sequence.evaluate([1]), () => sequence.truncate(0)]) {
      expect((await errorOf(call)).code).toBe('ERR_HYPURA_BUSY')
    }
    await running
    const others = [model.createSequence(), model.createSequence(), model.createSequence()]
    expect((await errorOf(() => model.createSequence())).code).toBe('ERR_HYPURA_BUSY')
    await Promise.all([sequence, ...others].map((open) => open.close()))
    await sequence.close()
    for (const call of [() => sequence.generate([1]), () => sequence.evaluate([1]), () => sequence.truncate(0)]) {
      expect((await errorOf(call)).code).toBe('ERR_HYPURA_DISPOSED')
    }
    expect(await fresh(prompt(), 2)).toHaveLength(2)
  })
})

test('sequences that run at once give what each gives alone', async () => {
  const prompts = [prompt(), [300, 301, 302], Array.from({ length: 40 }, (_, i) => 270 + i), [9]]
  const alone: (readonly number[])[] = []
  for (const tokens of prompts) alone.push(await fresh(tokens, 24))
  const sequences = prompts.map(() => model.createSequence())
  const together = await Promise.all(prompts.map((tokens, i) => sequences[i]!.generate(tokens, greedy(24))))
  expect(together.map(({ tokens }) => tokens)).toEqual(alone)
  await Promise.all(sequences.map((sequence) => sequence.close()))
})
