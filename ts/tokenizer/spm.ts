/**
 * SentencePiece BPE (tokenizer.ggml.model "llama"): characters join by the score of the token they make, the highest
 * score first and the leftmost among equals; what is no token in the end becomes byte tokens <0xHH>.
 *
 * The order of llama.cpp is kept: blanks become U+2581 before, and runs of blanks stay as they are, whatever
 * tokenizer.ggml.remove_extra_whitespaces says (llama.cpp reads that key for unigram models only).
 *
 * @see Kudo and Richardson 2018
 */
import type { Metadata } from '../gguf/types.js'
import type { TextEncoderCore } from './bpe.js'
import { ByteTable } from './byte-table.js'
import { createSymbolList, keptSymbols, mergeAll, resetSymbols, type MergeRules, type SymbolList } from './merge-queue.js'
import type { NumberList } from './number-list.js'
import { toCodeText } from './unicode-classes.js'
import { characterBytes, escapeBlanks, utf8Length, writeUtf8 } from './utf8.js'
import { checkLength, corruptVocabulary, elementType, type Vocabulary } from './vocabulary.js'

/** @throws ERR_HYPURA_CORRUPT_GGUF (T2) when scores are missing, of another length or not numbers */
export function createSpm(metadata: Metadata, vocabulary: Vocabulary): TextEncoderCore {
  return new SpmEncoder(vocabulary, buildTable(vocabulary), readRanks(metadata, vocabulary.nVocab))
}

function buildTable({ texts, nVocab, typeable }: Vocabulary): ByteTable {
  let total = 0
  for (let id = 0; id < nVocab; id++) total += texts.bytes(id).length
  const arena = new Uint8Array(total)
  const ranges = new Int32Array(2 * nVocab).fill(-1)
  let at = 0
  for (let id = 0; id < nVocab; id++) {
    if (!typeable[id]) continue
    const text = texts.bytes(id)
    arena.set(text, at)
    ranges[2 * id] = at
    ranges[2 * id + 1] = text.length
    at += text.length
  }
  return new ByteTable(arena, ranges)
}

/** Position of each token in the order of joining: equal scores have equal ranks. */
function readRanks(metadata: Metadata, nVocab: number): Int32Array {
  const scores = metadata.numbers('tokenizer.ggml.scores')
  if (!scores) throw corruptVocabulary(metadata, 'T2', 'scores', 'there are no scores')
  if (!(scores instanceof Float32Array || scores instanceof Float64Array || scores instanceof Int32Array)) {
    throw corruptVocabulary(metadata, 'T2', 'scores', `scores are stored as ${elementType(metadata, 'scores')}, f32 is wanted`)
  }
  checkLength(metadata, 'scores', scores, nVocab)
  const sorted = Float64Array.from(scores, (score) => score + 0).sort().reverse()
  if (!Number.isFinite(sorted[0]) || !Number.isFinite(sorted.at(-1))) {
    throw corruptVocabulary(metadata, 'T2', 'scores', 'a score is not a finite number')
  }
  const rankOf = new Map<number, number>()
  for (const score of sorted) if (!rankOf.has(score)) rankOf.set(score, rankOf.size)
  return Int32Array.from(scores, (score) => rankOf.get(score)!)
}

class SpmEncoder implements TextEncoderCore {
  readonly #vocabulary: Vocabulary
  readonly #table: ByteTable
  readonly #ranks: Int32Array
  #list: SymbolList = createSymbolList()
  /** Start of each symbol in the text's bytes; symbol i ends where its neighbour to the right begins. */
  #starts: Int32Array = new Int32Array(64)
  #ends: Int32Array = new Int32Array(64)
  #bytes: Uint8Array = new Uint8Array(0)
  readonly #rules: MergeRules = {
    rank: (left, right) => {
      const token = this.#table.find(this.#bytes, this.#starts[left]!, this.#ends[right]!)
      return token < 0 ? -1 : this.#ranks[token]!
    },
    join: (left, right) => {
      this.#ends[left] = this.#ends[right]!
    },
  }

  constructor(vocabulary: Vocabulary, table: ByteTable, ranks: Int32Array) {
    this.#vocabulary = vocabulary
    this.#table = table
    this.#ranks = ranks
  }

  encode(text: string, out: NumberList): void {
    const codeText = toCodeText(escapeBlanks(text))
    this.#bytes = new Uint8Array(utf8Length(codeText))
    writeUtf8(codeText, 0, codeText.length, this.#bytes, 0)
    const length = codeText.length
    if (this.#starts.length < length) {
      this.#starts = new Int32Array(length)
      this.#ends = new Int32Array(length)
    }
    for (let i = 0, at = 0; i < length; i++) {
      this.#starts[i] = at
      at += characterBytes(this.#bytes[at]!)
      this.#ends[i] = at
    }
    resetSymbols(this.#list, length)
    mergeAll(this.#list, this.#rules)
    for (let i = length > 0 ? 0 : -1; i >= 0; i = this.#list.next[i]!) this.#emit(this.#starts[i]!, this.#ends[i]!, out)
    this.#bytes = new Uint8Array(0)
    if (length > keptSymbols) {
      this.#starts = new Int32Array(64)
      this.#ends = new Int32Array(64)
      this.#list = createSymbolList()
    }
  }

  #emit(from: number, to: number, out: NumberList): void {
    const token = this.#table.find(this.#bytes, from, to)
    if (token >= 0) return out.push(token)
    for (let i = from; i < to; i++) {
      const byte = this.#vocabulary.byteTokens[this.#bytes[i]!]!
      const fallback = byte >= 0 ? byte : this.#vocabulary.unk
      if (fallback !== undefined) out.push(fallback)
    }
  }
}
