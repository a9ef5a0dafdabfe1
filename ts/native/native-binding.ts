/**
 * The whole surface of the addon: five functions of the module, nine of an engine, seven of a sequence.
 *
 * Messages go down as plain bytes that are copied and checked; nothing is shared. Errors are thrown (or reject) as
 * objects of NativeErrorInfo's shape; ts/engine turns them into HypuraError.
 */

/** Must agree with hypura::Code in native/base/status.h. */
export const nativeCodes = [
  'ok', 'invalid-argument', 'bad-load', 'bad-plan', 'insufficient-memory', 'io', 'model-changed', 'non-finite',
  'cancelled', 'closed', 'busy', 'context-overflow', 'unsupported', 'internal', 'mirror-mismatch',
] as const
export type NativeCode = (typeof nativeCodes)[number]

/** Own properties of the Error objects that the addon throws. */
export interface NativeErrorInfo {
  readonly nativeCode: NativeCode
  readonly message: string
  /** 0 when the system had no part in it. */
  readonly errno: number
  /** Index into the Load message's files, or -1. */
  readonly file: number
  /** Place in that file or in the refused message, or -1. */
  readonly offset: number
}

export type IoChoice = 'auto' | 'uring' | 'pread' | 'buffered'

export interface HardwareReport {
  readonly cpu: { readonly model: string; readonly logicalCores: number; readonly usableCores: number; readonly features: readonly string[] }
  /** Kernel set in use, and why ("best this CPU runs", "forced by HYPURA_ISA", …). */
  readonly isa: { readonly name: string; readonly reason: string; readonly runnable: readonly string[] }
  readonly io: readonly { readonly name: string; readonly available: boolean; readonly reason: string }[]
  /** Of `path`, when given: can its file system do direct reads, and at which alignment. */
  readonly direct?: { readonly available: boolean; readonly alignmentBytes: number; readonly reason: string }
  readonly transparentHugePages: string
  readonly memlockLimitBytes: number
}

export interface MeasureOptions {
  readonly batchPositions: number
  readonly logitsRows: number
  readonly threads: number
  readonly contextLength: number
  readonly sequences: number
  /** How keys, and values, are stored: a number of `kvType` in layout.gen.ts. */
  readonly keyType: number
  readonly valueType: number
}

/** Exact sizes of what the engine allocates besides weights. */
export interface MemoryMeasure {
  readonly kvBytes: number
  readonly scratchBytes: number
}

export interface EngineOptions {
  /** Compute threads, the token loop included; 0 chooses. */
  readonly threads: number
  readonly io: IoChoice
  /** Reads in flight per drive; 0 chooses. */
  readonly ioDepth: number
  /** Fault schedule for tests ("eio:at=17:once", docs/adding/io-backend.md); empty in production. */
  readonly faults?: string
  /** Encoded plan that is in force from the beginning: what it warms is read while loading. Default: all experts equal, nothing warmed. */
  readonly plan?: ArrayBuffer
}

export interface ReadMeasureOptions {
  readonly backend: IoChoice
  /** Past the page cache, where backend and file system can. */
  readonly direct: boolean
  /** Of one block: a multiple of 4,096, at most nativeLimits.measureBlockBytesMax. */
  readonly blockBytes: number
  /** Blocks on their way at once; with the reads that a block is made of (4 MiB each) at most 64. */
  readonly depth: number
  /** No block begins later, 1 .. 600,000. */
  readonly timeMs: number
  /** No block begins when so many bytes were asked for. */
  readonly bytesMax: number
}

export interface ReadMeasure {
  readonly backend: string
  readonly backendReason: string
  readonly direct: boolean
  /** '' when direct. */
  readonly directReason: string
  /** Read: the first so many of the offsets. */
  readonly blocks: number
  readonly bytes: number
  /** From the first submission to the last completion. */
  readonly durationNs: number
  /** Processor time of the whole process meanwhile. */
  readonly cpuNs: number
  readonly latencyP50Ns: number
  readonly latencyP99Ns: number
  readonly latencyMaxNs: number
  /** Memory that was read into, and how much of it lay in huge pages. */
  readonly arenaBytes: number
  readonly hugePageBytes: number
}

export interface NativeMeasurement {
  /** Rejects with 'cancelled' as soon as cancel() is called, or with what went wrong. */
  readonly done: Promise<ReadMeasure>
  cancel(): void
}

export interface NativeBinding {
  /** Must equal `abiVersion` of layout.gen.ts. */
  readonly abiVersion: number
  probe(path?: string): HardwareReport
  /** `spec`: one ModelSpec record. */
  measure(spec: ArrayBuffer, options: MeasureOptions): MemoryMeasure
  /**
   * Counts, in a function that returns the events since its last call, how often the kernel looked for memory in a cgroup v1
   * group and found none; until that function is collected. Throws 'unsupported'. `folder`: below /sys/fs/cgroup/memory.
   */
  watchPressure(folder: string): () => number
  /** Checks the message and starts loading on the engine's own thread. Throws for a bad message. */
  createEngine(load: ArrayBuffer, options: EngineOptions): NativeEngine
  /**
   * Reads blocks of a file on a thread of its own and says how fast that was. `offsets`: where blocks begin, multiples of
   * 4,096 inside the file, at most nativeLimits.measureOffsetsMax; in this order, until one of the options ends it.
   */
  measureReads(path: string, offsets: Float64Array, options: ReadMeasureOptions): NativeMeasurement
}

/** How the cache's regions are divided under another budget: prefixes of what was loaded (ts/prefetch/redivision.ts). */
export interface DivisionRequest {
  readonly budgetBytes: number
  readonly pinCount: number
  readonly poolSlots: number
  readonly ringBytes: number
}

export interface EngineFacts {
  readonly ioBackend: string
  readonly ioReason: string
  /** The model's own files are read directly, past the page cache. */
  readonly direct: boolean
  readonly directReason: string
  /** The same of each mirror. */
  readonly mirrors: readonly { readonly direct: boolean; readonly directReason: string }[]
  /** By drive of the Load message: as measured now, or else as the message said; 0: not known. */
  readonly driveBytesPerSecond: readonly number[]
  readonly isa: string
  readonly threads: number
  readonly arenaBytes: number
  readonly hugePageBytes: number
}

export interface NativeEngine {
  /** Resolves when weights that stay in memory are there; rejects with the load's error, or 'cancelled' after close(). */
  opened(): Promise<EngineFacts>
  /** Validates, copies and publishes; throws 'bad-plan' and keeps the old plan otherwise. Takes effect at the next sweep. */
  submitPlan(plan: ArrayBuffer): void
  /** 32-byte event records (docs/formats/events.md) into `into`; returns how many. */
  drainEvents(into: Uint32Array): number
  /** Fills `into` by CounterIndex of layout.gen.ts; also while loading. */
  counters(into: Float64Array): void
  /** A row per copy of the model, by CopyIndex of layout.gen.ts; returns how many. Throws when `into` is too small. */
  copies(into: Float64Array): number
  /** Bytes of whole blocks into V8's memory, one after the other, for executors outside the core. */
  readBlocks(blocks: Uint32Array, into: ArrayBuffer): Promise<void>
  /**
   * Another budget, reached between sweeps; a later request replaces one on its way. Resolves to the budget in force, which is
   * more than was asked for by what a huge page in half use takes. Rejects with 'invalid-argument' for a division that was not
   * loaded, 'unsupported' without a cache; with 'insufficient-memory', 'io' when something cannot come back: then all works
   * on with what there is.
   */
  resize(division: DivisionRequest): Promise<number>
  /** `client`: what its events name it with, 0 (the default) for nobody's. */
  createSequence(client?: number): NativeSequence
  /** Cancels what runs, waits for outstanding reads, frees all. Idempotent. */
  close(): Promise<void>
}

export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number
  /** 0: off */
  readonly topK: number
  /** 1: off */
  readonly topP: number
  /** 0: off */
  readonly minP: number
  /** 1: off */
  readonly repeatPenalty: number
  /** Window of the three penalties in tokens; 0: off, -1: whole context. */
  readonly repeatLastN: number
  readonly frequencyPenalty: number
  readonly presencePenalty: number
  /** 0 .. 2^32 - 1 */
  readonly seed: number
}

export interface GenerateRequest {
  /** Appended to the sequence's timeline. At least one. */
  readonly tokens: Uint32Array
  /** Tokens to generate; 0 only evaluates `tokens`. */
  readonly maxTokens: number
  /** Generation ends after one of these was sampled (it is delivered, with the stop flag). */
  readonly stopTokens: Uint32Array
  readonly sampling: SamplingOptions
  /** 'all': one row of logits for every evaluated position (teacher forcing), delivered by drainLogits. */
  readonly logits: 'none' | 'all'
  /** Tokens that may wait for the reader before the sequence pauses; 1 .. 4096. */
  readonly pendingTokensMax: number
}

export type SequencePhase = 'idle' | 'queued' | 'prefill' | 'decode' | 'paused' | 'done'
export type NativeFinishReason = 'stop-token' | 'length' | 'context-full' | 'cancelled' | 'error'

export interface SequenceState {
  readonly phase: SequencePhase
  readonly promptProcessed: number
  readonly promptTotal: number
  /** Positions in the KV cache. */
  readonly length: number
  readonly finishReason: NativeFinishReason | null
  readonly error: NativeErrorInfo | null
  /** Nanoseconds of the last request: until its prompt was evaluated, and from then on. */
  readonly prefillNs: number
  readonly decodeNs: number
}

export interface NativeSequence {
  /** Throws 'busy' while a request runs, 'context-overflow' when tokens do not fit. `onWake`: something can be drained. */
  start(request: GenerateRequest, onWake: () => void): void
  /** 16-byte records {token u32, position u32, log-probability f32, flags u32} (flag 1: stop token); returns how many. */
  drainTokens(into: Uint32Array): number
  /** Rows of n_vocab floats; returns how many. */
  drainLogits(into: Float32Array): number
  state(): SequenceState
  /** Seen at the next layer and in every wait. */
  cancel(): void
  /** Forgets positions from `length` on. Throws 'busy' while a request runs. */
  truncate(length: number): void
  close(): Promise<void>
}
