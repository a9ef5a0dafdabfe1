/** Flags that several commands share, spelt as llama.cpp spells them where the meaning is the same. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type GenerateOptions, type GuessSource, guessSources, type KvType, kvTypes, type LoadOptions, mirrorsMax, parseSize } from '../../ts/engine/index.js'

export interface LoadFlags {
  readonly memory: string
  readonly mode: NonNullable<LoadOptions['mode']>
  readonly ctxSize?: number
  readonly kvType?: KvType
  readonly batchSize?: number
  readonly threads?: number
  readonly io: 'auto' | 'uring' | 'pread' | 'buffered'
  readonly ioDepth?: number
  readonly mirror?: string[]
  readonly eviction?: 'cost-aware' | 'frequency' | 'recency'
  readonly guess?: 'auto' | 'off' | 'shadow' | 'retain' | 'prefetch'
  readonly guessSource?: 'auto' | GuessSource
  readonly tokenizerPre?: string
  readonly elastic: boolean
}

export interface SamplingFlags {
  readonly temp?: number
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  readonly repeatPenalty?: number
  readonly repeatLastN?: number
  readonly frequencyPenalty?: number
  readonly presencePenalty?: number
  readonly seed?: number
  readonly stop?: string[]
  readonly predict?: number
  readonly nPredict?: number
  readonly maxTokens?: number
  readonly ignoreEos?: boolean
}

type Parse = (text: string) => number

/** Digits only: "12abc" and "" are mistakes, not 12 and 0. */
export function integer(min: number, max: number): Parse {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : NaN
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
    return value
  }
}

const decimal = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 6, useGrouping: false })

export function real(min: number, max: number): Parse {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text)
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a number from ${decimal(min)} to ${decimal(max)}.`)
    return value
  }
}

export function size(text: string): string {
  try {
    parseSize(text)
    return text
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

const int32Max = 2 ** 31 - 1

function tokenCount(text: string): number {
  const value = integer(-1, int32Max)(text)
  if (value === 0) throw new InvalidArgumentError('It must be -1 (no limit) or at least 1.')
  return value
}

export type SamplingParameter = 'predict' | 'temp' | 'top-k' | 'top-p' | 'min-p' | 'repeat-penalty' | 'repeat-last-n' | 'frequency-penalty' | 'presence-penalty' | 'seed'

/** Parsers of the sampling parameters, by their flags' names; `/set` takes the same. */
export const samplingParsers: Readonly<Record<SamplingParameter, Parse>> = {
  predict: tokenCount,
  temp: real(0, 1000),
  'top-k': integer(0, int32Max),
  'top-p': real(1e-6, 1),
  'min-p': real(0, 1),
  'repeat-penalty': real(0.01, 100),
  'repeat-last-n': integer(-1, int32Max),
  'frequency-penalty': real(-100, 100),
  'presence-penalty': real(-100, 100),
  seed: integer(0, 2 ** 32 - 1),
}

const stopsMax = 16
const stopLengthMax = 256

function stopText(text: string, before: readonly string[] = []): string[] {
  if (text.length === 0 || text.length > stopLengthMax) throw new InvalidArgumentError(`It must have 1 to ${stopLengthMax} characters.`)
  if (before.length === stopsMax) throw new InvalidArgumentError(`At most ${stopsMax} are taken.`)
  return [...before, text]
}

function mirrorPath(text: string, before: readonly string[] = []): string[] {
  if (text === '') throw new InvalidArgumentError('It must be a path.')
  if (before.length === mirrorsMax) throw new InvalidArgumentError(`At most ${mirrorsMax} are taken.`)
  return [...before, text]
}

const hidden = (flags: string, parse: (text: string) => unknown): Option => new Option(flags).argParser(parse).hideHelp()

export const kvTypeOption = (): Option => new Option('--kv-type <type>', 'how the KV cache is stored: q8_0 takes 53 % of f16 and changes logits (default: f16)').choices(kvTypes)

export const guessSourceOption = (): Option => new Option('--guess-source <source>', 'whose guesses: the next layer\'s router, or a predictor that learns').choices(guessSources)

/** @param contextWords what -c means here, where it is not the context of a conversation */
export function addMemoryFlags(command: Command, contextWords = 'positions of the context (default: the model\'s own, at most 4096)'): Command {
  return command
    .option('--memory <size>', 'what the engine may place: 12GiB, 75% of the machine or cgroup, or auto', size, 'auto')
    .option('-c, --ctx-size <n>', contextWords, integer(1, 2 ** 24))
    .addOption(hidden('--context <n>', integer(1, 2 ** 24)))
    .addOption(kvTypeOption())
    .option('-b, --batch-size <n>', 'positions of one prefill sweep, 1 to 512 (default: what memory allows)', integer(1, 512))
    .option('-t, --threads <n>', 'compute threads (default: usable cores)', integer(1, 256))
}

export function addMirrorFlag(command: Command): Command {
  return command.option('--mirror <path>', 'a copy of the model on another drive, read beside it; may be given several times', mirrorPath)
}

export function addLoadFlags(command: Command, contextWords?: string): Command {
  return addMirrorFlag(addMemoryFlags(command, contextWords))
    .addOption(new Option('--mode <mode>', 'auto: resident if it fits, else stream; mmap and bare are for comparisons').choices(['auto', 'resident', 'stream', 'mmap', 'bare']).default('auto'))
    .addOption(new Option('--io <backend>', 'how weights are read').choices(['auto', 'uring', 'pread', 'buffered']).default('auto'))
    .option('--io-depth <n>', 'reads in flight per drive, 1 to 64 (default: 8)', integer(1, 64))
    .addOption(new Option('--eviction <policy>', 'who leaves the expert pool').choices(['cost-aware', 'frequency', 'recency']))
    .addOption(new Option('--guess <mode>', 'guesses of the next layer\'s experts: read them while it pays (auto), or always that').choices(['auto', 'off', 'shadow', 'retain', 'prefetch']))
    .addOption(guessSourceOption())
    .option('--no-elastic', 'keep the budget, also when the machine or the cgroup runs short of memory')
    .option('--tokenizer-pre <name>', 'pre-tokenizer of a BPE model, instead of the one that the file names')
}

export function addTemplateFlags(command: Command): Command {
  return command
    .option('--system <text>', 'system message of the conversation')
    .option('--chat-template <name|file>', 'use this template: chatml, or a Jinja file')
}

/** What readPrompt() and promptTokens() take. */
export function addPromptFlags(command: Command): Command {
  return addTemplateFlags(command
    .option('-p, --prompt <text>', 'the prompt')
    .option('-f, --file <path>', 'read the prompt from a file, - is stdin; -p is added behind it'))
    .option('--raw', 'continue the prompt as it is, without the model\'s chat template')
}

export function addSamplingFlags(command: Command): Command {
  return command
    .option('-n, --predict <n>', 'tokens to generate, -1: until the model ends or the context is full (default: -1, without a chat template 256)', samplingParsers.predict)
    .addOption(hidden('--n-predict <n>', tokenCount))
    .addOption(hidden('--max-tokens <n>', tokenCount))
    .option('--temp <x>', 'temperature, 0 is greedy (default 0.8)', samplingParsers.temp)
    .option('--top-k <n>', 'keep the k most likely tokens, 0: off (default 40)', samplingParsers['top-k'])
    .option('--top-p <x>', 'keep the most likely tokens that make up this share, 1: off (default 0.95)', samplingParsers['top-p'])
    .option('--min-p <x>', 'drop tokens below this share of the likeliest, 0: off (default 0.05)', samplingParsers['min-p'])
    .option('--repeat-penalty <x>', 'divide the score of repeated tokens, 1: off (default 1)', samplingParsers['repeat-penalty'])
    .option('--repeat-last-n <n>', 'tokens the penalties look back, -1: all (default 64)', samplingParsers['repeat-last-n'])
    .option('--frequency-penalty <x>', 'lower a token\'s score by this for each use (default 0)', samplingParsers['frequency-penalty'])
    .option('--presence-penalty <x>', 'lower a used token\'s score by this (default 0)', samplingParsers['presence-penalty'])
    .option('-s, --seed <n>', 'seed of the sampler (default: random, printed)', samplingParsers.seed)
    .option('--stop <text>', 'end the answer before this text; may be given several times', stopText)
    .option('--ignore-eos', 'go on past the model\'s own end')
}

export function loadOptionsOf(flags: LoadFlags & { readonly context?: number }): LoadOptions {
  return {
    memory: flags.memory,
    mode: flags.mode,
    contextLength: flags.ctxSize ?? flags.context,
    kvType: flags.kvType,
    batchSize: flags.batchSize,
    threads: flags.threads,
    io: { backend: flags.io, depth: flags.ioDepth },
    mirrors: flags.mirror,
    eviction: flags.eviction,
    guess: flags.guess,
    guessSource: flags.guessSource,
    tokenizerPre: flags.tokenizerPre,
    elastic: flags.elastic,
  }
}

/** `fallback`: tokens when -n was not given; -1 is without a limit. */
export function generateOptionsOf(flags: SamplingFlags, fallback: number): GenerateOptions {
  const predict = flags.predict ?? flags.nPredict ?? flags.maxTokens ?? fallback
  return {
    ...(predict < 0 ? {} : { maxTokens: predict }),
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    repeatPenalty: flags.repeatPenalty,
    repeatLastN: flags.repeatLastN,
    frequencyPenalty: flags.frequencyPenalty,
    presencePenalty: flags.presencePenalty,
    seed: flags.seed,
    stop: flags.stop,
    ignoreEndTokens: flags.ignoreEos,
  }
}
