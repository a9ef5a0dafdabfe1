/** Metadata and vocabularies made in memory, for tests. */
import { HypuraError } from '../base/errors.js'
import type { ArrayInfo, Metadata, NumberArray, StringArray, ValueType } from '../gguf/types.js'

export type Plain = string | number | boolean | readonly string[] | NumberArray

/** Behaves as the parser's metadata: a value of another kind is ERR_HYPURA_CORRUPT_GGUF. */
export function metadataOf(values: Readonly<Record<string, Plain | undefined>>): Metadata {
  const map = new Map(Object.entries(values).filter((entry): entry is [string, Plain] => entry[1] !== undefined))
  const read = <T>(key: string, fits: (value: Plain) => T | undefined): T | undefined => {
    const value = map.get(key)
    if (value === undefined) return undefined
    const fitting = fits(value)
    if (fitting === undefined) throw new HypuraError('ERR_HYPURA_CORRUPT_GGUF', `${key} is of another type`, { field: key })
    return fitting
  }
  return {
    keys: () => map.keys(),
    has: (key) => map.has(key),
    typeOf: (key) => (map.has(key) ? typeOf(map.get(key)!) : undefined),
    arrayInfo: (key): ArrayInfo | undefined => {
      const value = map.get(key)
      if (typeof value !== 'object') return undefined
      return { type: value instanceof Float32Array ? 'f32' : value instanceof Uint8Array ? 'u8' : value instanceof Int8Array ? 'i8' : Array.isArray(value) ? 'string' : 'i32', length: value.length }
    },
    offsetOf: (key) => (map.has(key) ? 100 : undefined),
    string: (key) => read(key, (value) => (typeof value === 'string' ? value : undefined)),
    boolean: (key) => read(key, (value) => (typeof value === 'boolean' ? value : undefined)),
    integer: (key, max = 0xffff_ffff) => read(key, (value) => (typeof value === 'number' && value >= 0 && value <= max ? value : undefined)),
    float: (key) => read(key, (value) => (typeof value === 'number' ? value : undefined)),
    strings: (key) => read(key, (value) => (Array.isArray(value) ? stringArray(value as readonly string[]) : undefined)),
    numbers: (key) => read(key, (value) => (ArrayBuffer.isView(value) ? (value as NumberArray) : undefined)),
    booleans: () => undefined,
    preview: (key) => map.get(key),
  }
}

function typeOf(value: Plain): ValueType {
  if (typeof value === 'object') return 'array'
  return typeof value === 'string' ? 'string' : typeof value === 'number' ? 'u32' : 'bool'
}

/** Texts as UTF-8; `latin1:` in front means raw bytes. */
function stringArray(texts: readonly string[]): StringArray {
  const bytes = (i: number): Uint8Array => {
    const text = texts[i]!
    return text.startsWith('latin1:') ? Buffer.from(text.slice(7), 'latin1') : Buffer.from(text)
  }
  return { length: texts.length, bytes, text: (i) => new TextDecoder().decode(bytes(i)) }
}

/** The visible character of each byte in GPT-2's alphabet. */
export const byteCharacters: readonly string[] = (() => {
  let substitute = 0x100
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    return String.fromCodePoint(visible ? byte : substitute++)
  })
})()

/** A byte-level BPE vocabulary: 256 bytes, then one token per merge, then `control` tokens. */
export function bpeValues(merges: readonly string[], pre: string | undefined, control: readonly string[] = ['<|end|>']): Record<string, Plain | undefined> {
  const tokens = [...byteCharacters, ...merges.map((merge) => merge.replace(' ', '')), ...control]
  const kinds = new Int32Array(tokens.length).fill(1).fill(3, tokens.length - control.length)
  return {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': kinds,
    'tokenizer.ggml.merges': merges,
    'tokenizer.ggml.bos_token_id': tokens.length - 1,
    'tokenizer.ggml.eos_token_id': tokens.length - 1,
  }
}

/** A SentencePiece vocabulary: <unk>, <s>, </s>, 256 byte tokens, then `pieces` with falling scores. */
export function spmValues(pieces: readonly string[]): Record<string, Plain | undefined> {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...pieces]
  const kinds = new Int32Array(tokens.length).fill(1)
  kinds.set([2, 3, 3])
  kinds.fill(6, 3, 259)
  return {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': kinds,
    'tokenizer.ggml.scores': Float32Array.from(tokens, (_, id) => (id < 259 ? 0 : 258 - id)),
  }
}
