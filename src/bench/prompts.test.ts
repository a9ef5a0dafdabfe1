// What could break: prompts of the wrong length, one prompt twice, a prompt that depends on more than seed and number.
// How we notice: lengths from 1 to several times the text, for all rounds of a long benchmark.
import { expect, test } from 'vitest'
import { describeModel } from '../../ts/engine/index.js'
import { modelPath } from '../../test/support/run-cli.js'
import { builtInPrompts } from './prompts.js'

const tokenizer = (await describeModel(modelPath('fable-dense-q4_0.gguf'))).tokenizer()

test('a prompt has the length that was asked for, begins as the model wants it, and is the same every time', () => {
  const [prompts, same] = [builtInPrompts(tokenizer, 7), builtInPrompts(tokenizer, 7)]
  for (const length of [1, 2, 33, 512, 5000]) {
    const tokens = prompts.tokens(2, length)
    expect(tokens).toHaveLength(length)
    expect(tokens[0]).toBe(tokenizer.bos)
    expect(tokens).toEqual(same.tokens(2, length))
    expect(tokens.every((token) => token >= 0 && token < tokenizer.nVocab)).toBe(true)
  }
})

test('rounds do not repeat a prompt, and neither do seeds', () => {
  const texts = [1, 2].flatMap((seed) => Array.from({ length: 20 }, (_, round) => tokenizer.decode(builtInPrompts(tokenizer, seed).tokens(round, 32))))
  expect(new Set(texts).size).toBe(texts.length)
  expect(builtInPrompts(tokenizer, 0).tokens(0, 40).length).toBe(40)
  expect(tokenizer.decode(builtInPrompts(tokenizer, 0).tokens(0, 12))).toContain('harbour')
})
