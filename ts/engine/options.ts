/**
 * What callers may ask for, checked once: every number has a range, a misspelt name gets a suggestion.
 *
 * Defaults of the sampling options are llama.cpp's, so that a prompt behaves as its author knows it.
 */
import { z } from 'zod'
import { HypuraError, nearest } from '../base/errors.js'
import { nativeLimits } from '../native/layout.gen.js'
import type { GuessSource } from '../prefetch/guess-trials.js'
import { learntSources } from '../prefetch/predictors/index.js'
import type { KvType } from '../prefetch/region-sizes.js'

/** Bytes, or a text like '12GiB', '2.4GB', '75%' (of the machine's or cgroup's memory) or 'auto'. */
export type Size = number | string

export interface LoadOptions {
  /** What the engine may place: weights, KV cache, scratch, I/O buffers. Default 'auto'. */
  readonly memory?: Size | undefined
  /**
   * Default 'auto': resident if it fits, else streamed. 'resident' refuses to load a model that does not fit. 'mmap' is the
   * baseline: weights come through the page cache as the kernel likes, outside of the budget. 'bare' is a yardstick: the files
   * in memory, and no cache at all.
   */
  readonly mode?: 'auto' | 'resident' | 'stream' | 'mmap' | 'bare' | undefined
  /** Positions of one sequence. Default: the model's own, at most 4,096, less where the budget is small. */
  readonly contextLength?: number | undefined
  /**
   * How the KV cache stores keys and values: 'f16', the default, or 'q8_0', which takes 53 % of that and costs some accuracy.
   * Unlike the memory budget this is part of the recipe: it changes logits, by the same bits on every machine.
   */
  readonly kvType?: KvType | undefined
  /** Sequences whose KV cache is budgeted at load. Default 1. */
  readonly sequencesMax?: number | undefined
  /** Positions of one prefill sweep, at most; never changes a logit. Default: what the budget allows, up to 512. */
  readonly batchSize?: number | undefined
  /** Rows of logits one sweep reports at once; only evaluate() with logits needs more than 1. */
  readonly logitsRows?: number | undefined
  readonly threads?: number | undefined
  readonly io?: { readonly backend?: 'auto' | 'uring' | 'pread' | 'buffered' | undefined; readonly depth?: number | undefined } | undefined
  /**
   * Copies of the model on other drives, read beside it: at most 7 paths; of a split model any part, its fellows beside it.
   * They are compared with the model while loading, and never change a token.
   */
  readonly mirrors?: readonly string[] | undefined
  /**
   * Give memory back when the machine or the group runs short of it, and take it again later; default true. A budget that was
   * chosen by 'auto' follows its limit, any other one gives way only under pressure. Never changes a token. Not for 'mmap' and
   * 'bare', which have nothing to give.
   */
  readonly elastic?: boolean | undefined
  /** Told after memory was given back or taken again. */
  readonly onMemoryChange?: ((change: MemoryChange) => void) | undefined
  readonly eviction?: 'cost-aware' | 'frequency' | 'recency' | undefined
  /**
   * What is done with guesses of the experts that the next layer of a mixture will choose: default 'auto', read them while
   * that saves time. Never changes a token.
   */
  readonly guess?: 'auto' | 'off' | 'shadow' | 'retain' | 'prefetch' | undefined
  /**
   * Whose guesses: the next layer's router, or a predictor that learns from what was chosen. Default 'auto': with `guess` 'auto' whichever
   * saves time, else the router.
   */
  readonly guessSource?: 'auto' | GuessSource | undefined
  /** Name of the pre-tokenizer to use instead of the file's, for a BPE model whose `tokenizer.ggml.pre` is unknown or wrong. */
  readonly tokenizerPre?: string | undefined
  /** Aborts the load. */
  readonly loadSignal?: AbortSignal | undefined
  readonly onLoadProgress?: ((progress: LoadProgress) => void) | undefined
  /** Fault schedule for tests (docs/adding/io-backend.md). */
  readonly faults?: string | undefined
}

export interface MemoryChange {
  /** What the engine placed before, and places now. */
  readonly fromBytes: number
  readonly toBytes: number
  /** What everything that was loaded takes. */
  readonly loadedBytes: number
  /** 'pressure': somebody waits for memory · 'limit': less is left under it than before · 'room': there is more again. */
  readonly reason: 'pressure' | 'limit' | 'room'
}

export interface LoadProgress {
  /** Copies of the model are compared first, where there are any. */
  readonly phase: 'compare' | 'load'
  /** Of both phases. */
  readonly bytes: number
  readonly totalBytes: number
  readonly fraction: number
}

export interface SequenceOptions {
  /**
   * Whose sequence it is, 1 to 256 characters; default: nobody's, which all such sequences share. What is learnt from a named client's
   * tokens about which experts follow which stays with that client: it is used for no other's guesses, kept between no runs, and forgotten
   * when other clients are more recent. The name stays in this process's memory and reaches neither the engine nor a file.
   *
   * Not isolated: weights in memory, and which of them stay, are shared. How long a token takes can tell which experts others used.
   */
  readonly client?: string | undefined
}

export interface GenerateOptions {
  /** Default: until the model ends or the context is full. */
  readonly maxTokens?: number | undefined
  /** 0 is greedy. Default 0.8. */
  readonly temperature?: number | undefined
  /** 0: off. Default 40. */
  readonly topK?: number | undefined
  /** 1: off; the least is 0.000001. Default 0.95. */
  readonly topP?: number | undefined
  /** 0: off. Default 0.05. */
  readonly minP?: number | undefined
  /** 1: off, the default. */
  readonly repeatPenalty?: number | undefined
  /** Tokens that the three penalties look back; -1: all. Default 64. */
  readonly repeatLastN?: number | undefined
  readonly frequencyPenalty?: number | undefined
  readonly presencePenalty?: number | undefined
  /** 0 .. 2^32 - 1. Default: drawn at random and reported. */
  readonly seed?: number | undefined
  /** Texts that end the answer; they are not part of it. At most 16. */
  readonly stop?: readonly string[] | undefined
  /** Go on past the model's own end tokens. */
  readonly ignoreEndTokens?: boolean | undefined
  /**
   * Tokens that may wait for their reader before the engine pauses, 1 .. 4096; those of an answer that nobody reads on are lost work.
   * Default 1024: an event loop that is blocked for many seconds delays no token.
   */
  readonly pendingTokensMax?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** true: an abort ends the generation with reason 'aborted' instead of an error. Default false. */
  readonly stopOnAbortSignal?: boolean | undefined
}

export interface EvaluateOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { processed: number; total: number }) => void) | undefined
}

export const guessSources: readonly ('auto' | GuessSource)[] = ['auto', 'router', ...learntSources]

export const kvTypes: readonly KvType[] = ['f16', 'q8_0']

/** Copies besides the model itself. */
export const mirrorsMax: number = nativeLimits.copiesMax - 1

export const integer = (min: number, max: number): z.ZodOptional<z.ZodNumber> => z.number().int().min(min).max(max).optional()
export const real = (min: number, max: number): z.ZodOptional<z.ZodNumber> => z.number().min(min).max(max).optional()
export const signal: z.ZodOptional<z.ZodCustom<AbortSignal>> = z.instanceof(AbortSignal).optional()

const callback = <T>(): z.ZodOptional<z.ZodCustom<(value: T) => void>> =>
  z.custom<(value: T) => void>((value) => typeof value === 'function', 'must be a function').optional()

const ioShape = { backend: z.enum(['auto', 'uring', 'pread', 'buffered']).optional(), depth: integer(1, 64) }

const loadShape = {
  memory: z.union([z.number().nonnegative(), z.string()]).optional(),
  mode: z.enum(['auto', 'resident', 'stream', 'mmap', 'bare']).optional(),
  contextLength: integer(1, 2 ** 24),
  kvType: z.enum(kvTypes).optional(),
  sequencesMax: integer(1, 256),
  batchSize: integer(1, 512),
  logitsRows: integer(1, 512),
  threads: integer(1, 256),
  io: z.strictObject(ioShape).optional(),
  mirrors: z.array(z.string().min(1)).max(mirrorsMax).optional(),
  elastic: z.boolean().optional(),
  onMemoryChange: callback<MemoryChange>(),
  eviction: z.enum(['cost-aware', 'frequency', 'recency']).optional(),
  guess: z.enum(['auto', 'off', 'shadow', 'retain', 'prefetch']).optional(),
  guessSource: z.enum(guessSources).optional(),
  tokenizerPre: z.string().optional(),
  loadSignal: signal,
  onLoadProgress: callback<LoadProgress>(),
  faults: z.string().optional(),
}

const generateShape = {
  maxTokens: integer(1, 2 ** 31 - 1),
  pendingTokensMax: integer(1, nativeLimits.pendingTokensMax),
  temperature: real(0, 1000),
  topK: integer(0, 2 ** 31 - 1),
  topP: real(1e-6, 1),
  minP: real(0, 1),
  repeatPenalty: real(0.01, 100),
  repeatLastN: integer(-1, 2 ** 31 - 1),
  frequencyPenalty: real(-100, 100),
  presencePenalty: real(-100, 100),
  seed: integer(0, 2 ** 32 - 1),
  stop: z.array(z.string().min(1).max(256)).max(16).optional(),
  ignoreEndTokens: z.boolean().optional(),
  signal,
  stopOnAbortSignal: z.boolean().optional(),
}

const sequenceShape = { client: z.string().min(1).max(256).optional() }

const evaluateShape = { signal, onProgress: callback<{ processed: number; total: number }>() }

const loadSchema = z.strictObject(loadShape)
const sequenceSchema = z.strictObject(sequenceShape)
const generateSchema = z.strictObject(generateShape)
const evaluateSchema = z.strictObject(evaluateShape)

export function checkLoadOptions(options: LoadOptions): LoadOptions {
  const checked = check(loadSchema, { '': loadShape, io: ioShape }, options, 'load options')
  if ((checked.mirrors ?? []).length > 0 && (checked.mode === 'mmap' || checked.mode === 'bare')) {
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT',
      `mode ${checked.mode} has no reads that several drives could share: leave the mirrors out, or take mode stream.`, { field: 'mirrors', found: checked.mode, allowed: 'auto, resident, stream' })
  }
  return checked
}

export function checkSequenceOptions(options: SequenceOptions): SequenceOptions {
  return check(sequenceSchema, { '': sequenceShape }, options, 'sequence options')
}

export function checkGenerateOptions(options: GenerateOptions): GenerateOptions {
  return check(generateSchema, { '': generateShape }, options, 'generate options')
}

export function checkEvaluateOptions(options: EvaluateOptions): EvaluateOptions {
  return check(evaluateSchema, { '': evaluateShape }, options, 'evaluate options')
}

/** `shapes`: the known options by the path of the object they belong to. Error: ERR_HYPURA_INVALID_ARGUMENT with the field. */
export function check<T>(schema: z.ZodType<T>, shapes: Readonly<Record<string, object>>, options: unknown, what: string): T {
  const result = schema.safeParse(options)
  if (result.success) return result.data
  const issue = result.error.issues[0]!
  const place = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const known = Object.keys(shapes[place] ?? {})
    const suggestion = nearest(key, known)
    throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT',
      `${what}: unknown option "${key}"${suggestion === undefined ? `; known are ${known.join(', ')}` : `; did you mean "${suggestion}"?`}`,
      { field: place === '' ? key : `${place}.${key}` })
  }
  throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `${what}: ${place === '' ? 'the value' : place}: ${issue.message}`, { field: place })
}
