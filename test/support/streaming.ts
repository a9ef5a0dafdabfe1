/** Models that stream, at the smallest budget that shows it, and what tests read off them. */
import type { GenerateRequest, NativeErrorInfo, NativeSequence } from '../../ts/native/native-binding.js'
import { loadBinding } from '../../ts/native/load-binding.js'
import type { NativeEngine } from '../../ts/native/native-binding.js'
import { encodeLoad } from '../../ts/engine/codec/load.js'
import { describeModel, type LoadOptions, type ModelDescription, type ModelPlan } from '../../ts/engine/index.js'
import { planDescribed } from '../../ts/engine/plan-model.js'

/** An engine without the library around it: no planner, no sequences but the test's. */
export interface BareEngine {
  readonly native: NativeEngine
  readonly description: ModelDescription
  readonly plan: ModelPlan
}

export async function bareEngine(path: string, options: LoadOptions): Promise<BareEngine> {
  return openDescribed(await describeModel(path), options)
}

/** The second half of a load, for tests that do something to the file between the two. Rejects as the addon does. */
export async function openDescribed(description: ModelDescription, options: LoadOptions): Promise<BareEngine> {
  const plan = planDescribed(description, options)
  const { manifest, gguf, spec } = description
  const native = loadBinding().createEngine(encodeLoad(manifest, spec, gguf.files, plan.regions), {
    threads: options.threads ?? 2, io: options.io?.backend ?? 'auto', ioDepth: options.io?.depth ?? 0,
    ...(options.faults === undefined ? {} : { faults: options.faults }),
  })
  try {
    await native.opened()
  } catch (error) {
    await native.close()
    throw error
  }
  return { native, description, plan }
}

export function greedyRequest(tokens: readonly number[], changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    tokens: Uint32Array.from(tokens),
    maxTokens: 16,
    stopTokens: new Uint32Array(0),
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0, frequencyPenalty: 0, presencePenalty: 0, seed: 0 },
    logits: 'none',
    pendingTokensMax: 4096,
    ...changes,
  }
}

/** Runs one request to its end and drains its tokens. Rejects with the sequence's error. */
export async function nativeTokens(sequence: NativeSequence, request: GenerateRequest): Promise<number[]> {
  const tokens: number[] = []
  await new Promise<void>((resolve, reject) => {
    sequence.start(request, () => {
      const { phase, error } = sequence.state()
      tokens.push(...drainTokens(sequence))
      if (phase === 'done') error === null ? resolve() : reject(error as NativeErrorInfo & Error)
    })
  })
  return tokens
}

export function drainTokens(sequence: NativeSequence): number[] {
  const records = new Uint32Array(4 * 4096)
  const count = sequence.drainTokens(records)
  return Array.from({ length: count }, (_, i) => records[i * 4]!)
}

/** Stops this thread, as a busy host does. */
export function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
