/**
 * What could break: ids of real vocabularies.
 * How we notice: llama.cpp's own expectations (X.gguf.inp and X.gguf.out of its test data), round trips and streams over
 * random texts. The data lies in HYPURA_SHARED or ../shared; without it these tests are skipped.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createRandom, randomText } from '../../test/oracle/random-text.js'
import { openGguf } from '../gguf/parse.js'
import { createTokenizer, type Tokenizer } from './tokenizer.js'

const folder = join(process.env['HYPURA_SHARED'] ?? join(process.cwd(), '../shared'), 'vocab')
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.gguf')) : []
if (names.length === 0) console.log(`skipped: no vocabularies in ${folder} (set HYPURA_SHARED)`)
const readable = names.filter((name) => !name.includes('bert'))

async function open(name: string): Promise<Tokenizer> {
  return createTokenizer((await openGguf(join(folder, name))).metadata)
}

/** Falcon has no tokens for some control characters: they are dropped, as llama.cpp does. */
function charactersWithoutToken(tokenizer: Tokenizer): ReadonlySet<string> {
  const ascii = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code))
  return new Set(ascii.filter((character) => tokenizer.encode(character).length === 0))
}

function without(characters: ReadonlySet<string>, text: string): string {
  return Array.from(text).filter((character) => !characters.has(character)).join('')
}

describe.skipIf(names.length === 0)('vocabularies of real models', () => {
  test.each(readable.filter((name) => existsSync(join(folder, `${name}.inp`))))('%s: the ids that llama.cpp expects', async (name) => {
    const tokenizer = await open(name)
    const texts = readFileSync(join(folder, `${name}.inp`), 'utf8').split('\n__ggml_vocab_test__\n')
    const expected = readFileSync(join(folder, `${name}.out`), 'utf8').split('\n').slice(0, texts.length)
    expect(expected.length).toBe(texts.length)
    expect(texts.map((text) => [...tokenizer.encode(text)].join(' '))).toEqual(expected.map((line) => line.trim()))
  })

  test.each(readable)('%s: round trips and streams', async (name) => {
    const tokenizer = await open(name)
    const missing = charactersWithoutToken(tokenizer)
    const random = createRandom(3)
    for (let i = 0; i < 2000; i++) {
      const text = without(missing, randomText(random, ['<s>', '<|endoftext|>']))
      const tokens = tokenizer.encode(text)
      const whole = tokenizer.decode(tokens)
      const stream = tokenizer.detokenizer()
      expect([...tokens].map((token) => stream.push(token)).join('') + stream.end()).toBe(whole)
      if (tokenizer.model === 'bpe') expect(whole).toBe(text)
      else expect(whole).toBe(text.replaceAll('▁', ' '))
    }
  })

  test.each(readable)('%s: any text at all is encoded', async (name) => {
    const tokenizer = await open(name)
    const random = createRandom(4)
    for (let i = 0; i < 500; i++) {
      const text = Array.from({ length: 20 }, () => String.fromCharCode(Math.floor(random() * 0x10000))).join('')
      for (const token of tokenizer.encode(text, { parseSpecial: i % 2 === 0 })) expect(token).toBeLessThan(tokenizer.nVocab)
    }
  })

  test.skipIf(!names.includes('ggml-vocab-bert-bge.gguf'))('WordPiece is refused by name', async () => {
    await expect(open('ggml-vocab-bert-bge.gguf')).rejects.toMatchObject({ code: 'ERR_HYPURA_UNSUPPORTED_TOKENIZER', details: { found: '"bert"' } })
  })
})
