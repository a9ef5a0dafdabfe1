/**
 * Byte-level BPE (tokenizer.ggml.model "gpt2"), and its variant on the text's own characters ("gemma4").
 *
 * A text is cut into words by the pre-tokenizer; each word starts as single bytes (or characters) and joins the pair
 * with the smallest merge rank until none is left. Symbols are token ids, so a pair is two integers.
 *
 * Bytes that no token stands for are dropped in the byte alphabet, as llama.cpp does; complete vocabularies have all.
 *
 * @see Sennrich et al. 2016; Radford et al. 2019
 */
import type { Metadata } from '../gguf/types.js'
import { decodeByteAlphabet } from './byte-alphabet.js'
import { ByteTable } from './byte-table.js'
import { createSymbolList, keptSymbols, mergeAll, resetSymbols, type MergeRules, type SymbolList } from './merge-queue.js'
import { mergesMax } from './limits.js'
import { MergeTable } from './merge-table.js'
import { cutWords, type PreTokenizer } from './pre-tokenizers.js'
import { NumberList } from './number-list.js'
import { toCodeText } from './unicode-classes.js'
import { corruptVocabulary, type Vocabulary } from './vocabulary.js'
import { characterBytes, escapeBlanks, utf8Length, writeUtf8 } from './utf8.js'

const blank = 0x20

/** Encodes one stretch of plain text; special tokens are the caller's business. */
export interface TextEncoderCore {
  encode(text: string, out: NumberList): void
}

/** @throws ERR_HYPURA_CORRUPT_GGUF (T5) for missing or malformed merges */
export function createBpe(metadata: Metadata, vocabulary: Vocabulary, rules: PreTokenizer): TextEncoderCore {
  const table = buildTable(vocabulary, rules.alphabet)
  const merges = readMerges(metadata, vocabulary, table, rules.alphabet)
  return new BpeEncoder(vocabulary, rules, table, merges)
}

/** Texts of all tokens as the bytes they stand for; those outside the alphabet stand for nothing that can be typed. */
function buildTable({ texts, nVocab }: Vocabulary, alphabet: PreTokenizer['alphabet']): ByteTable {
  let total = 0
  for (let id = 0; id < nVocab; id++) total += texts.bytes(id).length
  const arena = new Uint8Array(total)
  const ranges = new Int32Array(2 * nVocab)
  let at = 0
  for (let id = 0; id < nVocab; id++) {
    const text = texts.bytes(id)
    const length = decodePart(text, 0, text.length, arena, at, alphabet)
    ranges[2 * id] = at
    ranges[2 * id + 1] = length
    at += Math.max(0, length)
  }
  return new ByteTable(arena, ranges)
}

function readMerges(
  metadata: Metadata, { typeable }: Vocabulary, table: ByteTable, alphabet: PreTokenizer['alphabet'],
): MergeTable {
  const merges = metadata.strings('tokenizer.ggml.merges')
  if (!merges) throw corruptVocabulary(metadata, 'T5', 'merges', 'there is no list of merges')
  if (merges.length > mergesMax) {
    throw corruptVocabulary(metadata, 'T5', 'merges', `${merges.length} merges are more than the limit of ${mergesMax}`)
  }
  const pairs = new MergeTable(merges.length)
  let scratch = new Uint8Array(256)
  for (let rank = 0; rank < merges.length; rank++) {
    const text = merges.bytes(rank)
    // The parts are separated by the first blank that is not the first byte.
    let cut = 1
    while (cut < text.length && text[cut] !== blank) cut++
    if (scratch.length < text.length) scratch = new Uint8Array(text.length * 2)
    const leftLength = cut < text.length ? decodePart(text, 0, cut, scratch, 0, alphabet) : -1
    const rightLength = leftLength > 0 ? decodePart(text, cut + 1, text.length, scratch, leftLength, alphabet) : -1
    const end = leftLength + rightLength
    const left = rightLength > 0 ? table.find(scratch, 0, leftLength) : -1
    const right = left >= 0 ? table.find(scratch, leftLength, end) : -1
    const joined = right >= 0 ? table.find(scratch, 0, end) : -1
    if (joined < 0) {
      const why = cut < text.length ? 'names a piece that is no token' : 'has no blank between its parts'
      throw corruptVocabulary(metadata, 'T5', 'merges', `merge ${rank}, ${JSON.stringify(merges.text(rank).slice(0, 80))}, ${why}`)
    }
    if (typeable[joined]) pairs.add(rank, left, right, joined)
  }
  return pairs
}

function decodePart(
  text: Uint8Array, from: number, to: number, into: Uint8Array, at: number, alphabet: PreTokenizer['alphabet'],
): number {
  if (alphabet === 'bytes') return decodeByteAlphabet(text, from, to, into, at)
  for (let i = from; i < to; i++) into[at++] = text[i]!
  return to - from
}

class BpeEncoder implements TextEncoderCore {
  readonly #rules: PreTokenizer
  readonly #table: ByteTable
  readonly #merges: MergeTable
  readonly #vocabulary: Vocabulary
  /** Token of each single byte, -1 where there is none. */
  readonly #single: Int32Array
  #list: SymbolList = createSymbolList()
  /** Token per symbol of the word in work; -1 - byte for a byte or character without a token. */
  #symbols: Int32Array = new Int32Array(64)
  readonly #mergeRules: MergeRules

  constructor(vocabulary: Vocabulary, rules: PreTokenizer, table: ByteTable, merges: MergeTable) {
    this.#rules = rules
    this.#table = table
    this.#merges = merges
    this.#vocabulary = vocabulary
    this.#single = Int32Array.from({ length: 256 }, (_, byte) => this.#find(Uint8Array.of(byte), 0, 1))
    this.#mergeRules = {
      rank: (left, right) => this.#merges.rank(this.#symbols[left]!, this.#symbols[right]!),
      join: (left, right) => {
        this.#symbols[left] = this.#merges.joined(this.#merges.rank(this.#symbols[left]!, this.#symbols[right]!))
      },
    }
  }

  encode(text: string, out: NumberList): void {
    const plain = this.#rules.alphabet === 'characters' ? escapeBlanks(text) : text
    const codeText = toCodeText(plain)
    const bytes = new Uint8Array(utf8Length(codeText))
    let from = 0
    let at = 0
    for (const to of cutWords(codeText, this.#rules.stages)) {
      const end = writeUtf8(codeText, from, to, bytes, at)
      this.#encodeWord(bytes, at, end, out)
      from = to
      at = end
    }
    if (this.#symbols.length > keptSymbols) {
      this.#symbols = new Int32Array(64)
      this.#list = createSymbolList()
    }
  }

  #encodeWord(bytes: Uint8Array, from: number, to: number, out: NumberList): void {
    const characters = this.#rules.alphabet === 'characters'
    if (this.#rules.ignoreMerges || (characters && bytes[from] === 0x0a)) {
      const whole = this.#find(bytes, from, to)
      if (whole >= 0) return out.push(whole)
    }
    const length = characters ? this.#startWithCharacters(bytes, from, to) : this.#startWithBytes(bytes, from, to)
    resetSymbols(this.#list, length)
    mergeAll(this.#list, this.#mergeRules)
    for (let i = length > 0 ? 0 : -1; i >= 0; i = this.#list.next[i]!) {
      const symbol = this.#symbols[i]!
      if (symbol >= 0) out.push(symbol)
      else if (characters) this.#pushBytes(bytes, from, -1 - symbol, out)
    }
  }

  #startWithBytes(bytes: Uint8Array, from: number, to: number): number {
    this.#reserve(to - from)
    for (let i = from; i < to; i++) this.#symbols[i - from] = this.#single[bytes[i]!]!
    return to - from
  }

  /** A character without a token keeps its place, counted from the word's start, as -1 - place. */
  #startWithCharacters(bytes: Uint8Array, from: number, to: number): number {
    this.#reserve(to - from)
    let length = 0
    for (let i = from; i < to; ) {
      const end = Math.min(to, i + characterBytes(bytes[i]!))
      const token = this.#find(bytes, i, end)
      this.#symbols[length++] = token >= 0 ? token : -1 - (i - from)
      i = end
    }
    return length
  }

  /** Byte fallback: the character at `place` as tokens <0xHH>. */
  #pushBytes(bytes: Uint8Array, from: number, place: number, out: NumberList): void {
    const start = from + place
    for (let i = start; i < start + characterBytes(bytes[start]!); i++) {
      const token = this.#vocabulary.byteTokens[bytes[i]!]!
      if (token >= 0) out.push(token)
    }
  }

  /** The token of bytes[from, to) if typed text may become it, or -1. */
  #find(bytes: Uint8Array, from: number, to: number): number {
    const token = this.#table.find(bytes, from, to)
    return token >= 0 && this.#vocabulary.typeable[token] ? token : -1
  }

  #reserve(length: number): void {
    if (this.#symbols.length < length) this.#symbols = new Int32Array(Math.max(length, this.#symbols.length * 2))
  }
}
