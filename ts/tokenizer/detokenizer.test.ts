/**
 * What could break: half a character is shown, an invalid byte swallows the next character, the stream differs from the
 * whole, or SentencePiece's blank is lost or doubled.
 * How we notice: TextDecoder over all bytes at once is the second implementation.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bpeValues, metadataOf, spmValues } from './metadata.test.helper.js'
import { createTokenizer } from './tokenizer.js'

const bpe = createTokenizer(metadataOf(bpeValues([], 'gpt-2')))
const spm = createTokenizer(metadataOf(spmValues(['▁', '▁a', 'b', '▁▁'])))

test('any bytes, one token each, give what decoding them at once gives', () => {
  const troublesome = fc.constantFrom(0x20, 0x41, 0x80, 0xbf, 0xc0, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xed, 0xa0, 0xef, 0xbb, 0xf0, 0x9f, 0x98, 0xf4, 0x90, 0xff)
  fc.assert(
    fc.property(fc.array(fc.oneof(troublesome, fc.integer({ min: 0, max: 255 })), { maxLength: 40 }), (bytes) => {
      const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes))
      const stream = bpe.detokenizer()
      let text = ''
      for (const byte of bytes) {
        text += stream.push(byte)
        expect(whole.startsWith(text)).toBe(true)
      }
      expect(text + stream.end()).toBe(whole)
      expect(bpe.decode(bytes)).toBe(whole)
    }),
    { numRuns: 3000 },
  )
})

test('a character comes with its last byte', () => {
  const stream = bpe.detokenizer()
  expect([0xf0, 0x9f, 0x98, 0x80].map((byte) => stream.push(byte))).toEqual(['', '', '', '😀'])
  expect(stream.push(0xe2)).toBe('')
  expect(stream.end()).toBe('\ufffd')
  expect(stream.push(0x41)).toBe('A')
})

test('the first blank is taken off a text, but not off its continuation', () => {
  const [blank, a, b, two] = [259, 260, 261, 262]
  expect(spm.decode([a!, b!, a!])).toBe('ab a')
  expect(spm.decode([1, a!, a!])).toBe('a a')
  expect(spm.decode([two!, b!])).toBe(' b')
  expect(spm.decode([blank!])).toBe('')
  expect(spm.decode([a!, b!], { continuation: true })).toBe(' ab')
  expect(spm.decode([1, a!, 2], { special: true })).toBe('<s> a</s>')
})
