/**
 * What could break: a pair is joined out of order, a stale pair is joined, bytes get lost, special tokens are found in
 * text from users, or a long word takes quadratic time.
 * How we notice: naive encoders, which look for the best pair anew after every join, are the second implementation; and
 * decoding what was encoded gives the text back.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bpeValues, byteCharacters, metadataOf, spmValues } from './metadata.test.helper.js'
import { createTokenizer } from './tokenizer.js'

/** Merges over the letters a to d, each of two pieces that exist by then. */
const merges = ['a b', 'b c', 'a a', 'ab c', 'aa aa', 'c d', 'd d', 'bc d', 'abc d', 'aa b', 'Ġ a', 'Ġa b', 'cd dd', 'aaaa aaaa']
const bpe = createTokenizer(metadataOf(bpeValues(merges, 'gpt-2', ['<|end|>', '<|mark|>'])))

function naiveBpe(word: string): string[] {
  let parts = Array.from(Buffer.from(word), (byte) => byteCharacters[byte]!)
  for (;;) {
    let best = merges.length
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = merges.indexOf(`${parts[i]} ${parts[i + 1]}`)
      if (rank >= 0 && rank < best) best = rank
    }
    if (best === merges.length) return parts
    const [left, right] = merges[best]!.split(' ')
    const at = parts.findIndex((part, i) => part === left && parts[i + 1] === right)
    parts = [...parts.slice(0, at), left! + right!, ...parts.slice(at + 2)]
  }
}

const pieces = ['▁', 'a', 'b', '▁a', 'ab', '▁ab', 'ba', 'aa', 'aaaa', 'bab', '▁▁', 'é', 'aé', '<s', 's>', '<0']
const spm = createTokenizer(metadataOf(spmValues(pieces)))

function naiveSpm(text: string): number[] {
  const parts = Array.from(` ${text}`.replaceAll(' ', '▁'))
  const id = (piece: string): number => (pieces.includes(piece) ? 259 + pieces.indexOf(piece) : -1)
  for (;;) {
    let best = -1
    for (let i = 0; i + 1 < parts.length; i++) {
      const joined = id(parts[i]! + parts[i + 1]!)
      if (joined >= 0 && (best < 0 || joined < id(parts[best]! + parts[best + 1]!))) best = i
    }
    if (best < 0) break
    parts.splice(best, 2, parts[best]! + parts[best + 1]!)
  }
  return parts.flatMap((part) => (id(part) >= 0 ? [id(part)] : Array.from(Buffer.from(part), (byte) => 3 + byte)))
}

describe('byte-level BPE', () => {
  test('joins in the order of the naive encoder, in short words and in long ones', () => {
    const words = fc.oneof(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 1, maxLength: 30 }), fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 41, maxLength: 300 }))
    fc.assert(
      fc.property(words, (word) => {
        expect([...bpe.encode(word)].map((id) => bpe.tokenText(id))).toEqual(naiveBpe(word))
      }),
      { numRuns: 400 },
    )
  })

  test('decode(encode(x)) is x, and the stream gives the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        const tokens = bpe.encode(text)
        expect(bpe.decode(tokens)).toBe(text)
        const stream = bpe.detokenizer()
        expect([...tokens].map((token) => stream.push(token)).join('') + stream.end()).toBe(text)
      }),
      { numRuns: 1000 },
    )
  })

  test('one word of a megabyte is n log n', () => {
    const timed = (length: number): number => {
      const text = 'abcdaadb'.repeat(length / 8)
      const start = performance.now()
      expect(bpe.decode(bpe.encode(text))).toBe(text)
      return performance.now() - start
    }
    const small = Math.min(timed(1 << 16), timed(1 << 16))
    expect(timed(1 << 20) / small).toBeLessThan(40)
  })
})

describe('SentencePiece', () => {
  test('joins in the order of the naive encoder; what is left becomes bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'é', '<', 's', '>', '0', 'x', '😀'), minLength: 1, maxLength: 120 }), (text) => {
        expect([...spm.encode(text)]).toEqual(naiveSpm(text))
      }),
      { numRuns: 1000 },
    )
  })

  test('decode(encode(x)) is x, byte fallback and leading blanks included', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        // U+2581 is the blank's stand-in: it cannot be told from a blank.
        const plain = text.replaceAll('▁', '_')
        expect(spm.decode(spm.encode(plain))).toBe(plain)
      }),
      { numRuns: 1000 },
    )
  })

  test('one word of a megabyte is n log n', () => {
    const timed = (length: number): number => {
      const text = 'ab a'.repeat(length / 4)
      const start = performance.now()
      expect(spm.encode(text).length).toBeGreaterThan(length / 4)
      return performance.now() - start
    }
    const small = Math.min(timed(1 << 16), timed(1 << 16))
    expect(timed(1 << 20) / small).toBeLessThan(40)
  })
})

describe('special tokens', () => {
  const end = bpe.encode('<|end|>', { parseSpecial: true })

  test('are found in templates only', () => {
    expect([...end]).toEqual([bpe.nVocab - 2])
    expect(bpe.isControl(end[0]!)).toBe(true)
    expect([...bpe.encode('a<|end|>b<|mark|>', { parseSpecial: true })].map((id) => bpe.tokenText(id))).toEqual(['a', '<|end|>', 'b', '<|mark|>'])
    for (const token of bpe.encode('a<|end|>b<|mark|>')) expect(bpe.isControl(token)).toBe(false)
  })

  test('typed texts of control and byte tokens stay text in SentencePiece', () => {
    for (const text of ['<s>', '</s>', '<unk>', '<0x41>', '<s></s>']) {
      expect([...spm.encode(text)].some((token) => spm.isControl(token))).toBe(false)
      expect(spm.decode(spm.encode(text))).toBe(text)
    }
  })

  test('BOS and EOS are added where the model wants them', () => {
    expect([...spm.encode('', { addSpecial: true })]).toEqual([1])
    expect([...spm.encode('')]).toEqual([])
    const both = createTokenizer(metadataOf({ ...spmValues(pieces), 'tokenizer.ggml.add_eos_token': true }))
    expect([...both.encode('a', { addSpecial: true })]).toEqual([1, 262, 2])
  })

  test('longer ones win, and a found one keeps its characters', () => {
    const tokenizer = createTokenizer(metadataOf(bpeValues(merges, 'gpt-2', ['<a>', '<a><a>', '<b', '>c'])))
    const texts = (text: string): string[] => [...tokenizer.encode(text, { parseSpecial: true })].map((id) => tokenizer.tokenText(id))
    expect(texts('<a><a><a>c')).toEqual(['<a><a>', '<a>', 'c'])
    expect(texts('<b>c<a>c')).toEqual(['<b', '>c', '<a>', 'c'])
  })

  test('guarded text is restored after the search', () => {
    const tokens = bpe.encode('<|end|>@|end|>', { parseSpecial: true, restore: (plain) => plain.replaceAll('@', '<') })
    expect(bpe.decode(tokens, { special: true })).toBe('<|end|><|end|>')
    expect([...tokens].filter((token) => bpe.isControl(token)).length).toBe(1)
  })

  test('thousands of them in a megabyte take no quadratic time', () => {
    const control = Array.from({ length: 2000 }, (_, i) => `<|extra_${i}|>`)
    const tokenizer = createTokenizer(metadataOf(bpeValues(merges, 'gpt-2', control)))
    const text = '<|extra_7|><|extra_8'.repeat(50_000)
    const start = performance.now()
    expect([...tokenizer.encode(text, { parseSpecial: true })].filter((token) => tokenizer.isControl(token)).length).toBe(50_000)
    expect(performance.now() - start).toBeLessThan(20_000)
  })
})

test('ids and texts outside the limits are refused', () => {
  for (const token of [-1, 0.5, NaN, bpe.nVocab, 2 ** 32]) {
    expect(() => bpe.tokenBytes(token)).toThrowError(expect.objectContaining({ code: 'ERR_HYPURA_INVALID_ARGUMENT' }))
  }
})

test('lone surrogates become U+FFFD', () => {
  expect(bpe.decode(bpe.encode('a\ud800b'))).toBe('a\ufffdb')
})
