/**
 * The token list of a model as columns, read and checked once: texts, kinds, special ids.
 *
 * Holds always: kinds.length === nVocab; special ids are below nVocab; every byte token is of the form <0xHH>.
 * Immutable after creation. Texts stay bytes of the header (invalid UTF-8 is legal) and are decoded when asked for.
 */
import { HypuraError } from '../base/errors.js'
import type { Metadata, NumberArray, StringArray } from '../gguf/types.js'
import { controlNames, endNames, endOfTurnNames, fillNames } from './known-tokens.js'
import { tokensMax } from './limits.js'

/** Kinds of tokens by their numbers on disk (tokenizer.ggml.token_type). */
export const tokenKinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

export interface Vocabulary {
  readonly nVocab: number
  readonly texts: StringArray
  /** One of `tokenKinds` per token; anything else counts as unused. */
  readonly kinds: Uint8Array
  /**
   * 1 where plain text may become the token: the file does not call it control, unknown or byte. A token that is
   * control by its name only stays typeable, because merges may lead to it ("</s>" in a vocabulary of HTML).
   */
  readonly typeable: Uint8Array
  readonly bos: number | undefined
  readonly eos: number | undefined
  readonly eot: number | undefined
  readonly eom: number | undefined
  readonly unk: number | undefined
  readonly pad: number | undefined
  /** Tokens that end a generation. */
  readonly endTokens: ReadonlySet<number>
  /** Token of each byte by its text <0xHH>, -1 where there is none. */
  readonly byteTokens: Int32Array
}

export interface SpecialDefaults {
  readonly bos?: number
  readonly eos?: number
  readonly unk?: number
}

const prefix = 'tokenizer.ggml.'

/** @throws ERR_HYPURA_CORRUPT_GGUF with rule T1, T2, T3 or T4 */
export function readVocabulary(metadata: Metadata, defaults: SpecialDefaults): Vocabulary {
  const texts = metadata.strings(`${prefix}tokens`)
  if (!texts || texts.length === 0) {
    throw corruptVocabulary(metadata, 'T1', 'tokens', texts ? 'the list of tokens is empty' : 'there is no list of tokens')
  }
  const nVocab = texts.length
  if (nVocab > tokensMax) throw corruptVocabulary(metadata, 'T1', 'tokens', `${nVocab} tokens are more than the limit of ${tokensMax}`)
  const kinds = readKinds(metadata, nVocab)
  const typeable = kinds.map((kind) => Number(kind !== tokenKinds.control && kind !== tokenKinds.unknown && kind !== tokenKinds.byte))
  const byteTokens = new Int32Array(256).fill(-1)
  const named = new Map<string, number>()
  scanTexts(metadata, texts, kinds, byteTokens, named)

  const id = (key: string): number | undefined => readSpecialId(metadata, key, nVocab)
  const eos = id('eos_token_id') ?? inRange(defaults.eos, nVocab)
  const eot = id('eot_token_id') ?? firstNamed(named, endOfTurnNames)
  const eom = id('eom_token_id') ?? named.get('<|eom_id|>')
  for (const name of controlNames) {
    const token = named.get(name)
    if (token !== undefined) kinds[token] = tokenKinds.control
  }
  for (const key of ['seperator_token_id', 'mask_token_id', 'cls_token_id']) id(key)
  return Object.freeze({
    nVocab,
    texts,
    kinds,
    typeable,
    bos: id('bos_token_id') ?? inRange(defaults.bos, nVocab),
    eos,
    eot,
    eom,
    unk: id('unknown_token_id') ?? inRange(defaults.unk, nVocab),
    pad: id('padding_token_id'),
    endTokens: collectEndTokens(named, kinds, [eos, eot, eom, id('fim_pad_token_id'), id('fim_rep_token_id'), id('fim_sep_token_id')]),
    byteTokens,
  })
}

export function corruptVocabulary(metadata: Metadata, rule: string, key: string, what: string): HypuraError {
  const field = prefix + key
  const offset = metadata.offsetOf(field)
  return new HypuraError(
    'ERR_HYPURA_CORRUPT_GGUF',
    `The tokenizer of this model cannot be read: ${what}. ` +
      `Fetch the file again, or convert the model again with a current converter. [${rule}: ${field}${offset === undefined ? '' : `, byte ${offset}`}]`,
    { rule, field, offset },
  )
}

function readKinds(metadata: Metadata, nVocab: number): Uint8Array {
  const kinds = new Uint8Array(nVocab).fill(tokenKinds.normal)
  const stored = metadata.numbers(`${prefix}token_type`)
  if (!stored) return kinds
  if (!(stored instanceof Int32Array || stored instanceof Uint32Array)) {
    throw corruptVocabulary(metadata, 'T2', 'token_type', `token types are stored as ${elementType(metadata, 'token_type')}, i32 is wanted`)
  }
  checkLength(metadata, 'token_type', stored, nVocab)
  for (let i = 0; i < nVocab; i++) {
    const kind = stored[i]!
    kinds[i] = kind >= tokenKinds.normal && kind <= tokenKinds.byte ? kind : tokenKinds.unused
  }
  return kinds
}

/** @throws ERR_HYPURA_CORRUPT_GGUF (T2) when a column's length is not the number of tokens */
export function checkLength(metadata: Metadata, key: string, column: NumberArray, nVocab: number): void {
  if (column.length === nVocab) return
  throw corruptVocabulary(metadata, 'T2', key, `${key} has ${column.length} entries for ${nVocab} tokens`)
}

export function elementType(metadata: Metadata, key: string): string {
  return metadata.arrayInfo(prefix + key)?.type ?? 'no array'
}

/** One pass over all texts: finds byte tokens and the known names. */
function scanTexts(
  metadata: Metadata, texts: StringArray, kinds: Uint8Array, byteTokens: Int32Array, named: Map<string, number>,
): void {
  const known = new Set<string>(controlNames)
  const lengths = new Set(controlNames.map((name) => new TextEncoder().encode(name).length))
  for (let id = 0; id < texts.length; id++) {
    const bytes = texts.bytes(id)
    const byte = byteOf(bytes)
    if (byte >= 0 && byteTokens[byte]! < 0) byteTokens[byte] = id
    if (kinds[id] === tokenKinds.byte && byte < 0) {
      throw corruptVocabulary(metadata, 'T4', 'tokens', `token ${id} is a byte token, but its text ${JSON.stringify(texts.text(id).slice(0, 20))} is not <0x00> to <0xFF>`)
    }
    if (!lengths.has(bytes.length)) continue
    const text = texts.text(id)
    if (known.has(text) && !named.has(text)) named.set(text, id)
  }
}

/** The byte of a text <0xHH> with capital or small digits, or -1. */
function byteOf(text: Uint8Array): number {
  if (text.length !== 6 || text[0] !== 0x3c || text[1] !== 0x30 || text[2] !== 0x78 || text[5] !== 0x3e) return -1
  const high = hexDigit(text[3]!)
  const low = hexDigit(text[4]!)
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  if (code >= 0x41 && code <= 0x46) return code - 0x37
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1
}

function readSpecialId(metadata: Metadata, key: string, nVocab: number): number | undefined {
  const id = metadata.integer(prefix + key)
  if (id !== undefined && id >= nVocab) {
    throw corruptVocabulary(metadata, 'T3', key, `${key} is ${id}, but there are ${nVocab} tokens`)
  }
  return id
}

function inRange(id: number | undefined, nVocab: number): number | undefined {
  return id !== undefined && id < nVocab ? id : undefined
}

function firstNamed(named: ReadonlyMap<string, number>, names: readonly string[]): number | undefined {
  for (const name of names) if (named.has(name)) return named.get(name)
  return undefined
}

function collectEndTokens(
  named: ReadonlyMap<string, number>, kinds: Uint8Array, given: readonly (number | undefined)[],
): ReadonlySet<number> {
  const ends = new Set<number>()
  for (const token of given) if (token !== undefined) ends.add(token)
  for (const name of [...endNames, ...fillNames]) {
    const token = named.get(name)
    if (token !== undefined && kinds[token] === tokenKinds.control) ends.add(token)
  }
  const drop = (name: string, ...beside: readonly string[]): void => {
    const token = named.get(name)
    if (token !== undefined && beside.every((other) => named.has(other))) ends.delete(token)
  }
  // Harmony and Solar end a channel with <|end|>, not the answer; Gemma 4 keeps an unused </s>.
  drop('<|end|>', '<|return|>', '<|call|>')
  drop('<|end|>', '<|calls|>', '<|flush|>')
  drop('</s>', '<|tool_response>')
  return ends
}
