/**
 * The public API of hypura.
 *
 * @example
 * await using model = await loadModel('model.gguf', { memory: '8GiB' })
 * await using sequence = model.createSequence()
 * for await (const chunk of sequence.generate('Once upon a time')) process.stdout.write(chunk.text)
 */
export { type ErrorCode, errorCodes, type ErrorDetails, HypuraError, nearest } from '../base/errors.js'
export { openGguf } from '../gguf/parse.js'
export type { GgufModel, Metadata, TensorInfo } from '../gguf/types.js'
export { type CgroupMemory, cgroupMemory } from '../machine/cgroup-memory.js'
export { type Drive, type DriveKind, driveOf } from '../machine/drive.js'
export { type DriveStats, driveStats, driveStatsBetween } from '../machine/drive-stats.js'
export { type EnergyCounter, energyCounter } from '../machine/energy.js'
export { autoBudgetBytes, type MemoryLimit, memoryLimits, tightestLimit } from '../machine/memory-limits.js'
export { type ProcessStats, processStats } from '../machine/process-stats.js'
export { type SmartReport, smartReport } from '../machine/smart.js'
export { type WearEstimate, wearEstimate } from '../machine/wear.js'
export type { NotAvailable } from '../machine/system-files.js'
export type { BlockManifest } from '../manifest/block-manifest.js'
export type { ModelSpec } from '../manifest/model-spec.js'
export type { EngineFacts, HardwareReport } from '../native/native-binding.js'
export { assumedDrive, type DriveCost } from '../prefetch/cost-model.js'
export type { Expectation, MemoryStep } from '../prefetch/expectation.js'
export type { MemoryItems } from '../prefetch/memory-items.js'
export { type MemorySize, parseSize } from '../prefetch/parse-size.js'
export type { SweepReads } from '../prefetch/sweep-reads.js'
export type { ChatMessage, ChatTemplate } from '../tokenizer/chat-template.js'
export type { Tokenizer } from '../tokenizer/tokenizer.js'
export type { Chunk, FinishReason, GeneratedToken, Generation, GenerationResult, Timings, Usage } from './generation.js'
export { benchDrive, type BenchBackend, type DriveBench, type DriveBenchOptions } from './drive-bench.js'
export { driveCostFor, type DriveProfile, type MeasuredCost, readProfile, saveProfile } from './hardware-profile.js'
export { loadModel } from './load-model.js'
export { measureReads, type MeasureReadsOptions, type ReadCell } from './measure-reads.js'
export type { Model, TokenizeChatOptions } from './model.js'
export { describeModel, type ModelDescription } from './model-description.js'
export type { ModelStats } from './model-stats.js'
export type { EvaluateOptions, GenerateOptions, LoadOptions, LoadProgress, MemoryChange, Size } from './options.js'
export { packageRoot, packageVersion } from './package-info.js'
export { type ModelPlan, planModel } from './plan-model.js'
export { OffsetSet } from './read-offsets.js'
export type { LogitsSink, Sequence } from './sequence.js'
export { systemInfo, type SystemInfo } from './system-info.js'
