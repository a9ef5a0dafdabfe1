/** `--dry-run`: what would be done, and how long it may take, without reading a weight. */
import { availableParallelism } from 'node:os'
import { assumedDrive, type ModelDescription, type ModelPlan } from '../../ts/engine/index.js'
import { bytes, duration } from '../format.js'
import { parameters, tokenBytes } from '../inspect/subject.js'
import { estimate } from './estimate.js'
import type { BenchFlags } from './prepare.js'
import { type Protocol, testName } from './tests.js'

export interface Preview {
  readonly schema: 1
  readonly model: string
  readonly model_bytes: number
  readonly tests: readonly string[]
  readonly repetitions: number
  readonly warmup_tokens: number
  readonly mode: string
  readonly memory_bytes: number
  readonly context: number
  readonly kv_type: string
  readonly streamed_bytes_per_sweep: number
  readonly baseline: boolean
  /** At assumed speeds. */
  readonly estimated_seconds: number
}

export function previewOf(protocol: Protocol, plan: ModelPlan, description: ModelDescription, flags: BenchFlags): Preview {
  const share = description.spec.nExpert === 0 ? 1 : tokenBytes(description) / plan.modelBytes
  const { totalSeconds } = estimate(protocol, plan, flags.threads ?? availableParallelism(), tokenBytes(description), parameters(description) * Math.min(1, share))
  return {
    schema: 1,
    model: protocol.path,
    model_bytes: plan.modelBytes,
    tests: protocol.tests.map((test) => testName(test, protocol.depth)),
    repetitions: protocol.repetitions,
    warmup_tokens: protocol.warmupTokens,
    mode: plan.mode,
    memory_bytes: plan.budgetBytes,
    context: plan.contextLength,
    kv_type: plan.regions.kvType,
    streamed_bytes_per_sweep: plan.reads.streamedBytes,
    baseline: flags.baseline !== undefined,
    estimated_seconds: Math.ceil(totalSeconds),
  }
}

export const previewText = (preview: Preview): string => `${[
  `model      ${preview.model}, ${bytes(preview.model_bytes)} of weights`,
  `tests      ${preview.tests.join(', ')}; ${preview.repetitions} rounds and the first one again, each with another prompt`,
  `memory     ${preview.mode}, budget ${bytes(preview.memory_bytes)}, context ${preview.context} (KV ${preview.kv_type}); ${bytes(preview.streamed_bytes_per_sweep)} read per sweep${preview.streamed_bytes_per_sweep === 0 ? '' : ' for certain'}`,
  `duration   about ${duration(preview.estimated_seconds * 1000)} at an assumed ${assumedDrive.bytesPerSecond / 1e9} GB/s${preview.baseline ? ', and what llama.cpp takes' : ''}`,
].join('\n')}\n`
