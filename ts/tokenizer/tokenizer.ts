/**
 * The tokenizer of a model, from its GGUF metadata: the same ids as llama.cpp gives.
 *
 * Text from users is plain text: control tokens come from templates only, so `parseSpecial` is off by default. Tokens
 * that the model's maker defined ("user-defined") are always found. Not thread-safe; one instance per thread.
 */
import { HypuraError, nearest } from '../base/errors.js'
import type { Metadata } from '../gguf/types.js'
import { decodeByteAlphabet } from './byte-alphabet.js'
import { createBpe, type TextEncoderCore } from './bpe.js'
import { createStreamDetokenizer, type StreamDetokenizer } from './detokenizer.js'
import { textUnitsMax } from './limits.js'
import { preTokenizers, type PreTokenizer } from './pre-tokenizers.js'
import { createSpecialTokens, stripRulesFor, type SpecialTokens } from './special-tokens.js'
import { createSpm } from './spm.js'
import { NumberList } from './number-list.js'
import { blankMark } from './utf8.js'
import { corruptVocabulary, readVocabulary, tokenKinds, type Vocabulary } from './vocabulary.js'

export interface Tokenizer {
  readonly model: 'spm' | 'bpe'
  /** Name of the pre-tokenizer in use; 'default' for SPM. */
  readonly pre: string
  readonly nVocab: number
  readonly bos: number | undefined
  readonly eos: number | undefined
  readonly eot: number | undefined
  readonly unk: number | undefined
  readonly pad: number | undefined
  readonly addBos: boolean
  readonly addEos: boolean
  /** Tokens that end a generation: eos, eot, eom and the known names. */
  readonly endTokens: ReadonlySet<number>
  /** @throws ERR_HYPURA_INVALID_ARGUMENT for a text of more than 2^27 UTF-16 units */
  encode(text: string, options?: EncodeOptions): Uint32Array
  decode(tokens: Iterable<number>, options?: DecodeOptions): string
  /** What a token stands for; the text itself for control tokens. @throws ERR_HYPURA_INVALID_ARGUMENT for a bad id */
  tokenBytes(token: number): Uint8Array
  /** The token's own text in the file, invalid UTF-8 replaced: "<|im_end|>", "Ġthe". */
  tokenText(token: number): string
  isControl(token: number): boolean
  detokenizer(options?: DecodeOptions): StreamDetokenizer
}

export interface EncodeOptions {
  /** Add BOS and EOS where the model wants them. Off. */
  readonly addSpecial?: boolean
  /** Find control tokens in the text: for rendered templates, never for text from users. Off. */
  readonly parseSpecial?: boolean
  /** Applied to each plain stretch, after control tokens were found: takes guards away (guarded-text.ts). */
  readonly restore?: (plain: string) => string
}

export interface DecodeOptions {
  /** Show control tokens as their text. Off. */
  readonly special?: boolean
  /** The tokens follow other text: the leading blank of SentencePiece stays. Off. */
  readonly continuation?: boolean
}

export interface TokenizerOptions {
  /** Name of the pre-tokenizer to use instead of the file's. */
  readonly pre?: string
}

/** Everything that differs between the kinds. */
interface Kind {
  readonly model: 'spm' | 'bpe'
  readonly pre: string
  readonly core: TextEncoderCore
  readonly addBos: boolean
  readonly addSpacePrefix: boolean
  /** How a normal token's text becomes bytes. */
  readonly pieces: 'byte-alphabet' | 'blank-marks'
}

/**
 * @throws ERR_HYPURA_UNSUPPORTED_TOKENIZER for an unknown model or pre-tokenizer (rule T8)
 * @throws ERR_HYPURA_CORRUPT_GGUF (rules T1 to T5)
 */
export function createTokenizer(metadata: Metadata, options: TokenizerOptions = {}): Tokenizer {
  const model = metadata.string('tokenizer.ggml.model')
  if (model === 'llama') {
    const vocabulary = readVocabulary(metadata, { bos: 1, eos: 2, unk: 0 })
    return new ModelTokenizer(metadata, vocabulary, spmKind(metadata, vocabulary))
  }
  if (model === 'gpt2' || model === 'gemma4') {
    const pre = options.pre ?? (model === 'gemma4' ? 'gemma4' : (metadata.string('tokenizer.ggml.pre') || 'default'))
    const rules = preTokenizers.get(pre)
    if (!rules) throw unknownPre(pre)
    const vocabulary = readVocabulary(metadata, {})
    return new ModelTokenizer(metadata, vocabulary, bpeKind(metadata, vocabulary, pre, rules))
  }
  throw unknownModel(model)
}

function spmKind(metadata: Metadata, vocabulary: Vocabulary): Kind {
  return {
    model: 'spm',
    pre: 'default',
    core: createSpm(metadata, vocabulary),
    addBos: true,
    addSpacePrefix: metadata.boolean('tokenizer.ggml.add_space_prefix') ?? true,
    pieces: 'blank-marks',
  }
}

function bpeKind(metadata: Metadata, vocabulary: Vocabulary, pre: string, rules: PreTokenizer): Kind {
  return {
    model: 'bpe',
    pre,
    core: createBpe(metadata, vocabulary, rules),
    addBos: rules.addBos,
    addSpacePrefix: false,
    pieces: rules.alphabet === 'bytes' ? 'byte-alphabet' : 'blank-marks',
  }
}

class ModelTokenizer implements Tokenizer {
  readonly model: 'spm' | 'bpe'
  readonly pre: string
  readonly nVocab: number
  readonly bos: number | undefined
  readonly eos: number | undefined
  readonly eot: number | undefined
  readonly unk: number | undefined
  readonly pad: number | undefined
  readonly addBos: boolean
  readonly addEos: boolean
  readonly endTokens: ReadonlySet<number>
  readonly #vocabulary: Vocabulary
  readonly #kind: Kind
  readonly #specials: SpecialTokens

  constructor(metadata: Metadata, vocabulary: Vocabulary, kind: Kind) {
    this.#vocabulary = vocabulary
    this.#kind = kind
    this.model = kind.model
    this.pre = kind.pre
    this.nVocab = vocabulary.nVocab
    this.bos = vocabulary.bos
    this.eos = vocabulary.eos
    this.eot = vocabulary.eot
    this.unk = vocabulary.unk
    this.pad = vocabulary.pad
    this.endTokens = vocabulary.endTokens
    // Files of Gemma 4 say false and mean true.
    this.addBos = kind.pre === 'gemma4' || (metadata.boolean('tokenizer.ggml.add_bos_token') ?? kind.addBos)
    this.addEos = metadata.boolean('tokenizer.ggml.add_eos_token') ?? false
    if (this.addBos && this.bos === undefined) throw missingId(metadata, 'bos')
    if (this.addEos && this.eos === undefined) throw missingId(metadata, 'eos')
    this.#specials = createSpecialTokens(vocabulary, stripRulesFor(metadata.string('general.name'), vocabulary))
  }

  encode(text: string, { addSpecial = false, parseSpecial = false, restore = (plain) => plain }: EncodeOptions = {}): Uint32Array {
    if (text.length > textUnitsMax) {
      throw new HypuraError(
        'ERR_HYPURA_INVALID_ARGUMENT',
        `The text has ${text.length} UTF-16 units, at most ${textUnitsMax} can be tokenized at once. Split it.`,
        { field: 'text', found: text.length, allowed: `0..${textUnitsMax}` },
      )
    }
    const out = new NumberList()
    if (addSpecial && this.addBos) out.push(this.bos!)
    let afterSpecial = true
    for (const fragment of this.#specials.partition(text, parseSpecial)) {
      if ('token' in fragment) {
        out.push(fragment.token)
        afterSpecial = true
        continue
      }
      const plain = restore(text.slice(fragment.from, fragment.to))
      this.#kind.core.encode(this.#kind.addSpacePrefix && afterSpecial ? ` ${plain}` : plain, out)
      afterSpecial = false
    }
    if (addSpecial && this.addEos) out.push(this.eos!)
    return out.take().slice()
  }

  decode(tokens: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.detokenizer(options)
    let text = ''
    for (const token of tokens) text += stream.push(token)
    return text + stream.end()
  }

  detokenizer({ special = false, continuation = false }: DecodeOptions = {}): StreamDetokenizer {
    return createStreamDetokenizer({
      bytes: (token) => this.tokenBytes(token),
      isShown: (token) => special || !this.isControl(token),
      stripFirstBlank: this.#kind.addSpacePrefix && !continuation,
    })
  }

  isControl(token: number): boolean {
    this.#check(token)
    const kind = this.#vocabulary.kinds[token]
    return kind === tokenKinds.control || kind === tokenKinds.unknown
  }

  tokenText(token: number): string {
    this.#check(token)
    return this.#vocabulary.texts.text(token)
  }

  tokenBytes(token: number): Uint8Array {
    this.#check(token)
    const text = this.#vocabulary.texts.bytes(token)
    switch (this.#vocabulary.kinds[token]) {
      case tokenKinds.normal:
        return this.#kind.pieces === 'byte-alphabet' ? decodeBytes(text) : decodeBlankMarks(text)
      case tokenKinds.byte:
        return Uint8Array.of(parseInt(this.#vocabulary.texts.text(token).slice(3, 5), 16))
      case tokenKinds.unused:
        return new Uint8Array(0)
      default:
        return text.slice()
    }
  }

  #check(token: number): void {
    if (Number.isInteger(token) && token >= 0 && token < this.nVocab) return
    throw new HypuraError(
      'ERR_HYPURA_INVALID_ARGUMENT',
      `${token} is not a token: this model has the ids 0 to ${this.nVocab - 1}.`,
      { field: 'token', found: token, allowed: `0..${this.nVocab - 1}` },
    )
  }
}

/** A text outside the alphabet (an added token) stands for itself. */
function decodeBytes(text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(text.length)
  const length = decodeByteAlphabet(text, 0, text.length, bytes, 0)
  return length < 0 ? text.slice() : bytes.subarray(0, length)
}

const blankMarkBytes = new TextEncoder().encode(blankMark)

/** U+2581 becomes a blank; other bytes stay, also invalid ones. */
function decodeBlankMarks(text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(text.length)
  let length = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === blankMarkBytes[0] && text[i + 1] === blankMarkBytes[1] && text[i + 2] === blankMarkBytes[2]) {
      bytes[length++] = 0x20
      i += 2
    } else {
      bytes[length++] = text[i]!
    }
  }
  return bytes.subarray(0, length)
}

function missingId(metadata: Metadata, name: 'bos' | 'eos'): HypuraError {
  return corruptVocabulary(metadata, 'T3', `${name}_token_id`, `the model wants ${name.toUpperCase()} added to texts, but names no ${name.toUpperCase()} token`)
}

function unknownPre(pre: string): HypuraError {
  const known = [...preTokenizers.keys()].sort()
  const guess = nearest(pre, known)
  return new HypuraError(
    'ERR_HYPURA_UNSUPPORTED_TOKENIZER',
    `The pre-tokenizer ${JSON.stringify(pre.slice(0, 80))} (tokenizer.ggml.pre) is not known` +
      `${guess === undefined ? '' : ` (did you mean ${guess}?)`}; a wrong one would garble every text. ` +
      `If you know that the model splits words like one of these, name it (--tokenizer-pre, option tokenizerPre): ${known.join(', ')}.`,
    { rule: 'T8', field: 'tokenizer.ggml.pre', found: pre.slice(0, 80), allowed: known.join(', ') },
  )
}

function unknownModel(model: string | undefined): HypuraError {
  const found = model === undefined ? 'none' : JSON.stringify(model.slice(0, 80))
  return new HypuraError(
    'ERR_HYPURA_UNSUPPORTED_TOKENIZER',
    `The tokenizer kind ${found} (tokenizer.ggml.model) is not supported: hypura reads gpt2 (BPE), llama (SentencePiece) and gemma4. ` +
      'Use another model file, or convert the model with one of these kinds.',
    { rule: 'T8', field: 'tokenizer.ggml.model', found, allowed: 'gpt2, llama, gemma4' },
  )
}
