/**
 * Pre-tokenizers of byte-level BPE by their GGUF name (`tokenizer.ggml.pre`): how a text is cut into words before
 * merging, and what else goes with the name.
 *
 * Only names whose rules are known for certain are listed. Each list of stages stands for the regular expressions that
 * llama.cpp runs one after another, each refining the pieces of the one before.
 */
import { NumberList } from './number-list.js'
import {
  alternatives, blanksAtEnd, blankThen, casedWord, contraction, digits, digitsFromTheRight, lineBreaks, linesApart,
  mayPrecedeWord, oneLineBreak, other, punctuatedAsciiWord, punctuationOrSymbols, runIn, runOfClassOr, runUntil, spaces,
  spaceThen, threeAsciiDigits, withSuffix, word, wordAfterNoPunctuation, type CodeRange, type Rule, type Stage,
} from './scan-rules.js'
import { classes, type CodeText } from './unicode-classes.js'

export interface PreTokenizer {
  readonly stages: readonly Stage[]
  /** A word that is a token as a whole is taken as it is, without merging. */
  readonly ignoreMerges: boolean
  /** Whether BOS is put in front when the file does not say. */
  readonly addBos: boolean
  /** Words are bytes in GPT-2's printable alphabet, or the text's own characters with blanks as U+2581. */
  readonly alphabet: 'bytes' | 'characters'
}

let [ends, finer] = [new NumberList(), new NumberList()]

/**
 * Cuts a text into words: ends of the pieces, ascending, the last one `text.length`. The result is valid until the next
 * call.
 */
export function cutWords(text: CodeText, stages: readonly Stage[]): Uint32Array {
  ends.clear()
  if (text.length > 0) ends.push(text.length)
  for (const stage of stages) {
    finer.clear()
    let from = 0
    for (const to of ends.take()) {
      stage(text, from, to, finer)
      from = to
    }
    ;[ends, finer] = [finer, ends]
  }
  return ends.take()
}

const { letter, number, punctuation } = classes

/** `\p{N}+` and longer runs without a bound. */
const anyCount = Number.MAX_SAFE_INTEGER

const kimiContraction: Rule = contraction(true)

const gpt2Words = alternatives(contraction(false), blankThen(letter), blankThen(number), other(), spaces)

const wordsWithDigits = (count: number): Stage =>
  alternatives(contraction(true), word(false), digits(count), other({ tail: 'line-breaks' }), lineBreaks, spaces)

const wordsWithMarks = alternatives(
  contraction(true), word(true), digits(1), other({ tail: 'line-breaks', withoutMarks: true }), lineBreaks, spaces,
)

const casedWords = alternatives(
  casedWord(contraction(true)), digits(3), other({ tail: 'line-breaks-and-slashes' }), lineBreaks, spaces,
)

const tekkenWords = alternatives(
  casedWord(), digits(1), other({ tail: 'line-breaks-and-slashes' }), lineBreaks, spaces,
)

const tinyAyaWords = alternatives(
  word(true, contraction(true)), digits(3), other({ tail: 'line-breaks-and-slashes' }), lineBreaks, spaces,
)

const deepseekV3Words = alternatives(
  punctuatedAsciiWord, wordAfterNoPunctuation, punctuationOrSymbols, lineBreaks, spaces,
)

const seedCoderWords = alternatives(contraction(true), word(false), digits(1), other(), lineBreaks, spaces)

/** Letters with case, of the scripts that DeepSeek's first tokenizer lists. */
const deepseekLetters = parseRanges(`
  41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5
  3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15
  1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc
  1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d
  212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b
  a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb
  10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943`)
const deepseekPunctuation = parseRanges('21-2f 3a-7e ff01-ff0f ff1a-ff5e 2018-201f 3000-3002')
const deepseekCjk = parseRanges('4e00-9fa5 800-4e00 ac00-d7ff')
const hanAndKana = parseRanges('4e00-9fa5 3040-309f 30a0-30ff')
const afmoeAsian = parseRanges(`
  4e00-9fff 3400-4dbf 8c48-faff 3040-309f 30a0-30ff ff65-ff9f 2f00-2fdf e40-e7f e80-eff 1780-17ff 1000-109f aa60-aa7f
  a9e0-a9ff ac00-d7af 1100-11ff`)
const han = parseRanges('4e00-9fff 3400-4dbf 20000-2a6df 2a700-2ebef f900-faff 2f800-2fa1f')

const defaultStages = [
  alternatives(runOfClassOr(punctuation, '$+<=>^~|')),
  gpt2Words,
  alternatives(digits(anyCount)),
  alternatives(threeAsciiDigits),
]
const falconStages = [
  alternatives(runOfClassOr(punctuation, '$+<=>^~|`')),
  gpt2Words,
  alternatives(threeAsciiDigits),
]
const singleDigitStages = [alternatives(digits(1)), gpt2Words]
const qwen2Stages = [wordsWithDigits(1)]
const deepseekV3Stages = [alternatives(digits(3)), alternatives(runIn(hanAndKana)), deepseekV3Words]
const bloomWords = alternatives(runUntil('(|.,!?…。，、।۔،)'))

const plain = (stages: readonly Stage[]): PreTokenizer => ({
  stages, ignoreMerges: false, addBos: false, alphabet: 'bytes',
})
const wholeWords = (stages: readonly Stage[], addBos: boolean): PreTokenizer => ({
  stages, ignoreMerges: true, addBos, alphabet: 'bytes',
})

const gpt2: PreTokenizer = plain([gpt2Words])
const llama3: PreTokenizer = wholeWords([wordsWithDigits(3)], true)
const qwen2: PreTokenizer = plain(qwen2Stages)
const singleDigits: PreTokenizer = plain(singleDigitStages)
const gpt4o: PreTokenizer = plain([casedWords])
const deepseekV3: PreTokenizer = plain(deepseekV3Stages)
const bailing: PreTokenizer = plain(qwen2Stages)
const glm4: PreTokenizer = plain([wordsWithDigits(3)])
const tinyAya: PreTokenizer = plain([digitsFromTheRight, tinyAyaWords])
const bloom: PreTokenizer = plain([bloomWords])

/** Every known name. A `Map`, because the name comes from a file. */
export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map<string, PreTokenizer>([
  ['default', plain(defaultStages)],
  ...named(gpt2, [
    'gpt-2', 'phi-2', 'jina-es', 'jina-de', 'jina-v2-es', 'jina-v2-de', 'jina-v1-en', 'jina-v2-code', 'roberta-bpe',
    'gigachat', 'a.x-4.0', 'mellum', 'modern-bert', 'exaone4', 'mpt', 'olmo', 'jais', 'trillion', 'granite-docling',
  ]),
  ...named(llama3, [
    'llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2', 'jina-v5-nano',
  ]),
  ...named(glm4, ['dbrx', 'smaug-bpe', 'glm4', 'chatglm-bpe']),
  ...named(qwen2, [
    'qwen2', 'deepseek-r1-qwen', 'kormo', 'f2llmv2', 'megrez', 'stablelm2', 'hunyuan', 'solar-open', 'grok-2',
  ]),
  ['qwen35', plain([wordsWithMarks])],
  ...named(singleDigits, [
    'starcoder', 'refact', 'command-r', 'smollm', 'codeshell', 'exaone', 'minerva-7b', 'mellum2',
  ]),
  ['falcon', plain(falconStages)],
  ['deepseek-llm', plain([
    alternatives(oneLineBreak),
    alternatives(runIn(deepseekLetters, { afterSpace: true })),
    alternatives(runIn(deepseekPunctuation, { afterSpace: true })),
    blanksAtEnd,
    alternatives(runIn(deepseekCjk)),
    alternatives(digits(anyCount)),
  ])],
  ['deepseek-coder', plain([
    alternatives(oneLineBreak),
    alternatives(spaceThen(letter)),
    alternatives(spaceThen(punctuation)),
    alternatives(runIn(deepseekCjk)),
    alternatives(digits(1)),
  ])],
  ...named(deepseekV3, ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4']),
  ['afmoe', plain([digitsFromTheRight, alternatives(runIn(afmoeAsian)), deepseekV3Words])],
  ['tekken', wholeWords([tekkenWords], true)],
  ...named(gpt4o, ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2']),
  ...named(tinyAya, ['tiny_aya', 'cohere2moe']),
  ...named(bailing, ['bailingmoe', 'bailingmoe2', 'llada-moe']),
  ['seed-coder', plain([seedCoderWords])],
  ['kimi-k2', plain([alternatives(
    runIn(han), kimiWord, digits(3), other({ tail: 'line-breaks' }), lineBreaks, spaces,
  )])],
  ['laguna', plain([linesApart, ...qwen2Stages])],
  ['minicpm5', wholeWords([alternatives(digits(3)), wordsWithDigits(anyCount)], false)],
  ...named(bloom, ['bloom', 'gpt3-finnish', 'poro-chat']),
  ['viking', plain([bloomWords, alternatives(digits(1))])],
  ['gemma4', { stages: [linesApart], ignoreMerges: false, addBos: true, alphabet: 'characters' }],
])

function named(preTokenizer: PreTokenizer, names: readonly string[]): [string, PreTokenizer][] {
  return names.map((name) => [name, preTokenizer])
}

/** As `word`, but Han characters are no letters here: they are pieces of their own. */
function kimiWord(text: CodeText, at: number, to: number): number {
  const start = mayPrecedeWord(text, at) ? at + 1 : at
  let end = start
  while (end < to && text.classes[end] === letter && !isHan(text.points[end]!)) end++
  return end > start ? withSuffix(text, end, to, kimiContraction) : -1
}

function isHan(point: number): boolean {
  if (point < 0x3400) return false
  for (const range of han) if (point >= range.first && point <= range.last) return true
  return false
}

function parseRanges(list: string): CodeRange[] {
  return list.trim().split(/\s+/).map((entry) => {
    const [first, last] = entry.split('-')
    return { first: parseInt(first!, 16), last: parseInt(last ?? first!, 16) }
  })
}
