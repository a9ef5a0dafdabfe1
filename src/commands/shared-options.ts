/** Flags that several commands share, spelt as llama.cpp spells them where the meaning is the same. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { GenerateOptions, LoadOptions } from '../../ts/engine/index.js'

export interface LoadFlags {
  readonly memory: string
  readonly mode: 'auto' | 'resident' | 'stream'
  readonly ctxSize?: number
  readonly batchSize?: number
  readonly threads?: number
  readonly io: 'auto' | 'uring' | 'pread' | 'buffered'
  readonly ioDepth?: number
  readonly eviction?: 'cost-aware' | 'frequency' | 'recency'
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

/** Digits only: "12abc" and "" are mistakes, not 12 and 0. */
export function integer(text: string): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('not an integer')
  return value
}

export function real(text: string): number {
  const value = text.trim() === '' ? NaN : Number(text)
  if (!Number.isFinite(value)) throw new InvalidArgumentError('not a number')
  return value
}

const collect = (text: string, before: string[] | undefined): string[] => [...(before ?? []), text]
const hidden = (flags: string, parse: (text: string) => unknown): Option => new Option(flags).argParser(parse).hideHelp()

export function addMemoryFlags(command: Command): Command {
  return command
    .option('--memory <size>', 'what the engine may place: 12GiB, 75% of the machine or cgroup, or auto', 'auto')
    .option('-c, --ctx-size <n>', 'positions of the context (default: the model\'s own, at most 4096)', integer)
    .addOption(hidden('--context <n>', integer))
    .option('-b, --batch-size <n>', 'positions of one prefill sweep, 1 to 512 (default: what memory allows)', integer)
    .option('-t, --threads <n>', 'compute threads (default: usable cores)', integer)
}

export function addLoadFlags(command: Command): Command {
  return addMemoryFlags(command)
    .addOption(new Option('--mode <mode>', 'auto: resident if it fits, else stream').choices(['auto', 'resident', 'stream']).default('auto'))
    .addOption(new Option('--io <backend>', 'how weights are read').choices(['auto', 'uring', 'pread', 'buffered']).default('auto'))
    .option('--io-depth <n>', 'reads in flight, 1 to 64', integer)
    .addOption(new Option('--eviction <policy>', 'who leaves the expert pool').choices(['cost-aware', 'frequency', 'recency']))
}

export function addSamplingFlags(command: Command): Command {
  return command
    .option('-n, --predict <n>', 'tokens to generate, -1: until the model ends or the context is full', integer)
    .addOption(hidden('--n-predict <n>', integer))
    .addOption(hidden('--max-tokens <n>', integer))
    .option('--temp <x>', 'temperature, 0 is greedy (default 0.8)', real)
    .option('--top-k <n>', 'keep the k most likely tokens, 0: off (default 40)', integer)
    .option('--top-p <x>', 'keep the most likely tokens that make up this share, 1: off (default 0.95)', real)
    .option('--min-p <x>', 'drop tokens below this share of the likeliest, 0: off (default 0.05)', real)
    .option('--repeat-penalty <x>', 'divide the score of repeated tokens, 1: off (default 1)', real)
    .option('--repeat-last-n <n>', 'tokens the penalties look back, -1: all (default 64)', integer)
    .option('--frequency-penalty <x>', 'lower a token\'s score by this for each use (default 0)', real)
    .option('--presence-penalty <x>', 'lower a used token\'s score by this (default 0)', real)
    .option('-s, --seed <n>', 'seed of the sampler (default: random, printed)', integer)
    .option('--stop <text>', 'end the answer before this text; may be given several times', collect)
    .option('--ignore-eos', 'go on past the model\'s own end')
}

export function loadOptionsOf(flags: LoadFlags & { readonly context?: number }): LoadOptions {
  return {
    memory: flags.memory,
    mode: flags.mode,
    contextLength: flags.ctxSize ?? flags.context,
    batchSize: flags.batchSize,
    threads: flags.threads,
    io: { backend: flags.io, depth: flags.ioDepth },
    eviction: flags.eviction,
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
