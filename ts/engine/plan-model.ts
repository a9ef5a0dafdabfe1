/**
 * What would go where: the memory plan of a model on this machine, before a weight is read.
 *
 * Joins what the header says (manifest), what the native side needs (measure) and what the machine allows (limits) and hands
 * them to the pure planner in ts/prefetch.
 */
import { HypuraError } from '../base/errors.js'
import { autoBudgetBytes, type MemoryLimit, memoryLimits, tightestLimit } from '../machine/memory-limits.js'
import { processStats } from '../machine/process-stats.js'
import type { ModelSpec } from '../manifest/model-spec.js'
import { kvType as kvTypeNumber } from '../native/layout.gen.js'
import { loadBinding } from '../native/load-binding.js'
import type { DriveCost } from '../prefetch/cost-model.js'
import { type Expectation, expectationOf, memorySteps, type MemoryStep } from '../prefetch/expectation.js'
import { type BudgetRequest, type MemoryPlan, planMemory, positionsPerPage } from '../prefetch/memory-budget.js'
import { parseSize, resolveSize } from '../prefetch/parse-size.js'
import type { KvType } from '../prefetch/region-sizes.js'
import type { Measure } from '../prefetch/sizing.js'
import { type SweepReads, sweepReads } from '../prefetch/sweep-reads.js'
import { encodeSpec } from './codec/load.js'
import { driveCostFor, type MeasuredCost } from './hardware-profile.js'
import { describeModel, type ModelDescription } from './model-description.js'
import { findCopies, type ModelCopies } from './model-copies.js'
import { callNative } from './native-errors.js'
import { checkLoadOptions, type LoadOptions } from './options.js'

export interface ModelPlan extends MemoryPlan {
  readonly budgetBytes: number
  readonly contextLength: number
  /** Weights of the model, as its file stores them. */
  readonly modelBytes: number
  /** Weights that stay in memory. */
  readonly residentBytes: number
  /** What this process occupies without the engine's memory. */
  readonly processBytes: number
  /** Where the budget comes from: "--memory", or the limit that "auto" is under. */
  readonly budgetSource: string
  /** Drives that hold the model or a mirror of it. */
  readonly drives: number
  readonly warnings: readonly string[]
  /** What each sweep reads for certain, to the byte. */
  readonly reads: SweepReads
  /** What reading from the model's drive costs: measured by `hypura iobench`, else assumed. */
  readonly drive: MeasuredCost
  /** Bytes per token and the speed the drives allow, each of them like this one. Default: `drive`. */
  expectation(drive?: DriveCost): Expectation
  /** What other budgets would buy, from the floor to everything in memory. */
  steps(drive?: DriveCost): MemoryStep[]
}

/** Positions of the context when nobody asks for a number: longer ones cost memory that weights could use. */
const contextDefault = 4096
const contextLeast = 512
/** A context that nobody asked for takes at most this share of the budget. */
const contextShareMax = 0.25
const logitsRowsDefault = 1

/**
 * Errors: those of describeModel() and findCopies(); ERR_HYPURA_INSUFFICIENT_MEMORY with the floor; ERR_HYPURA_INVALID_ARGUMENT,
 * ERR_HYPURA_USAGE for a size that cannot be read; ERR_HYPURA_UNSUPPORTED for a `kvType` that this model's heads do not fit.
 */
export async function planModel(path: string, options: LoadOptions = {}): Promise<ModelPlan> {
  const checked = checkLoadOptions(options)
  const description = await describeModel(path, checked)
  return planDescribed(description, checked, await findCopies(description, checked.mirrors))
}

export function planDescribed(description: ModelDescription, options: LoadOptions, copies?: ModelCopies): ModelPlan {
  const { manifest, spec, gguf } = description
  const binding = loadBinding()
  const record = encodeSpec(spec)
  const threads = options.threads ?? 0
  const sequences = options.sequencesMax ?? 1
  const logitsRows = options.logitsRows ?? logitsRowsDefault
  const kvType = options.kvType ?? 'f16'
  requireKvType(description.path, spec, kvType)
  const measureWith = (type: number): Measure => (batchPositions, contextLength) =>
    callNative(() => binding.measure(record, { batchPositions, contextLength, threads, sequences, logitsRows, keyType: type, valueType: type }))
  const measure = measureWith(kvTypeNumber[kvType])
  const limit = tightestLimit(memoryLimits())
  const { budgetBytes, budgetSource } = budgetOf(options, limit)
  const contextLength = options.contextLength ?? defaultContext(spec.contextTrain, (length) => measure(1, length).kvBytes, budgetBytes)
  const request: BudgetRequest = {
    manifest, budgetBytes, contextLength, sequences, measure, logitsRows, kvType,
    mode: options.mode ?? 'auto',
    measureQ8: kvType === 'f16' && oddHead(spec) === undefined ? measureWith(kvTypeNumber.q8_0) : undefined,
    ...(options.io?.depth === undefined ? {} : { ioDepth: options.io.depth }),
    ...(options.batchSize === undefined ? {} : { batchPositionsMax: options.batchSize }),
  }
  const memory = planMemory(request)
  const drive = driveCostFor(description.path, options.io?.backend)
  const warnings: string[] = [...(drive.warning === undefined ? [] : [drive.warning]), ...(copies?.warnings ?? [])]
  const drives = copies?.drives.length ?? 1
  const together = (cost: DriveCost): DriveCost => ({ ...cost, bytesPerSecond: cost.bytesPerSecond * drives })
  if (contextLength > spec.contextTrain) warnings.push(`the context of ${contextLength} positions is longer than the ${spec.contextTrain} the model was trained for`)
  if (budgetBytes > limit.availableBytes) warnings.push(`the budget is larger than what is available now (${limit.source}): the system may swap or end this process`)
  if (memory.mode === 'stream' && memory.cliff !== undefined && memory.cliff.total > budgetBytes) warnings.push('the budget does not hold the experts of one token: hardly any will be found in memory')
  if (memory.mode === 'mmap') warnings.push('mode mmap is a baseline: weights are in the page cache, outside of the budget, and a file that is cut or a drive that fails ends the process')
  return {
    ...memory,
    budgetBytes: memory.regions.budgetBytes,
    contextLength,
    modelBytes: gguf.tensorBytes,
    residentBytes: memory.mode === 'bare' ? gguf.tensorBytes : Math.min(gguf.tensorBytes, memory.chosen.trunk + memory.chosen.pinned + memory.chosen.experts),
    processBytes: processStats().residentBytes,
    budgetSource,
    drives,
    warnings,
    reads: sweepReads(manifest, memory),
    drive,
    expectation: (cost = drive.cost) => expectationOf(manifest, memory, together(cost)),
    steps: (cost = drive.cost) => memorySteps(request, memory, together(cost)),
  }
}

/** Elements of a block of Q8_0; kv_block() in native/kernels/kv_rows.h. */
const kvBlock = 32

/** Length of a head that a Q8_0 KV cache cannot hold. */
const oddHead = ({ headDimK, headDimV }: ModelSpec): number | undefined => [headDimK, headDimV].find((dim) => dim % kvBlock !== 0)

function requireKvType(path: string, spec: ModelSpec, kvType: KvType): void {
  const wrong = oddHead(spec)
  if (kvType !== 'q8_0' || wrong === undefined) return
  throw new HypuraError('ERR_HYPURA_UNSUPPORTED',
    `${path}: a q8_0 KV cache stores heads in blocks of ${kvBlock} elements, this model's have ${wrong}. Leave --kv-type out, or give --kv-type f16.`,
    { path, field: 'kvType', found: wrong, allowed: `multiples of ${kvBlock}` })
}

function budgetOf({ memory = 'auto' }: LoadOptions, limit: MemoryLimit): { budgetBytes: number; budgetSource: string } {
  const size = parseSize(memory)
  return {
    budgetBytes: resolveSize(size, { totalBytes: limit.limitBytes, autoBytes: autoBudgetBytes(limit) }),
    budgetSource: size.kind === 'bytes' ? '--memory' : size.kind === 'share' ? `${size.share * 100} % of ${limit.source}` : `auto, under ${limit.source}`,
  }
}

/** The model's own context, at most 4,096, halved while its KV cache would take too much of the budget. */
function defaultContext(contextTrain: number, kvBytes: (length: number) => number, budgetBytes: number): number {
  let length = Math.min(contextTrain, contextDefault)
  while (length > contextLeast && kvBytes(pageAligned(length)) > budgetBytes * contextShareMax) length = Math.ceil(length / 2)
  return Math.min(length, contextTrain)
}

const pageAligned = (length: number): number => Math.ceil(length / positionsPerPage) * positionsPerPage

