/**
 * The record: one row per test, llama-bench's fields first, ours in the object `hypura`. Append fields, never rename them:
 * records are compared over years.
 */
import { basename } from 'node:path'
import type { Drive } from '../../ts/engine/index.js'
import type { Build, ModelFacts } from './environment.js'
import type { PerToken, TestFigures } from './figures.js'
import { actingSource } from '../acting-source.js'
import { steadyTokens } from './repetition.js'
import type { BenchRun } from './run-bench.js'
import { deviation, mean, quantile } from './statistics.js'
import { leadOf, leadTokens, type Test, testName } from './tests.js'
import { driftOf, ratioOf } from './warnings.js'

export const recordSchema = 1

export interface RecordInput {
  readonly run: BenchRun
  readonly figures: readonly TestFigures[]
  readonly warnings: readonly string[]
  readonly build: Build
  readonly model: ModelFacts
  readonly drive: Drive
  readonly environment: Readonly<Record<string, unknown>>
  /** ISO 8601, when the bench began. */
  readonly startedAt: string
  /** Of the whole bench: written by this process, kills in its memory group. */
  readonly bytesWritten: number | null
  readonly oomKills: number | null
  readonly wear: (test: TestFigures) => unknown
  readonly energy: (test: TestFigures) => unknown
}

export type Row = Readonly<Record<string, unknown>> & { readonly hypura: Readonly<Record<string, unknown>> }

export function rowsOf(input: RecordInput): Row[] {
  return input.figures.map((figures) => ({ ...llamaBenchFields(input, figures), hypura: ownFields(input, figures) }))
}

/** Names and meanings are llama-bench's; what this engine does not have keeps llama-bench's default. */
function llamaBenchFields({ run, build, model, environment, startedAt }: RecordInput, { test, samplesNs, samplesTs, avgTs, stddevTs }: TestFigures): Record<string, unknown> {
  const { plan, engine } = run.session
  const isMapped = plan.mode === 'mmap'
  return {
    build_commit: build.commit,
    build_number: build.number,
    cpu_info: environment['cpu'],
    gpu_info: '',
    backends: 'CPU',
    model_filename: basename(run.protocol.path),
    model_type: model.type,
    model_size: model.tensorBytes,
    model_n_params: model.parameters,
    n_batch: plan.regions.batchPositions,
    n_ubatch: plan.regions.batchPositions,
    n_threads: engine.threads,
    cpu_mask: '0x0',
    cpu_strict: false,
    poll: 0,
    type_k: plan.regions.kvType,
    type_v: plan.regions.kvType,
    n_gpu_layers: 0,
    n_cpu_moe: 0,
    split_mode: 'none',
    main_gpu: 0,
    no_kv_offload: false,
    flash_attn: 0,
    devices: 'auto',
    tensor_split: '0.00',
    tensor_buft_overrides: 'none',
    use_mmap: isMapped,
    use_direct_io: !isMapped && engine.direct,
    embeddings: false,
    no_op_offload: 0,
    no_host: false,
    n_prompt: test.kind === 'pp' ? test.tokens : 0,
    n_gen: test.kind === 'tg' ? test.tokens : 0,
    n_depth: run.protocol.depth,
    test_time: startedAt,
    avg_ns: Math.round(mean(samplesNs)),
    stddev_ns: Math.round(deviation(samplesNs)),
    avg_ts: avgTs,
    stddev_ts: stddevTs,
    samples_ns: samplesNs,
    samples_ts: samplesTs,
  }
}

function ownFields(input: RecordInput, figures: TestFigures): Record<string, unknown> {
  const { run, drive, model } = input
  const { protocol, session, bandwidth } = run
  const { plan, engine, peaks } = session
  const { test, counted, perToken } = figures
  // The other side of the same run, where it was measured.
  const pp = test.kind === 'pp' ? figures : input.figures.find((other) => other.test.kind === 'pp')
  const tg = test.kind === 'tg' ? figures : input.figures.find((other) => other.test.kind === 'tg')
  return {
    schema: recordSchema,
    test: testName(test, protocol.depth),
    model: basename(protocol.path),
    model_bytes: model.tensorBytes,
    memory_bytes: plan.budgetBytes,
    mode: plan.mode,
    partial: run.isPartial,
    pp_tok_s: pp?.avgTs ?? null,
    pp_bound_tok_s: pp?.bound?.tokensPerSecond ?? null,
    pp_bound_pct: pp?.boundPct ?? null,
    pp_bound_side: pp?.bound?.side ?? null,
    tg_tok_s: tg?.avgTs ?? null,
    tg_bound_tok_s: tg?.bound?.tokensPerSecond ?? null,
    tg_bound_pct: tg?.boundPct ?? null,
    tg_bound_side: tg?.bound?.side ?? null,
    bound_reason: figures.boundReason,
    bound_bytes: figures.boundBytes,
    ...perTokenFields(perToken),
    quantiles: figures.steady?.spread ?? null,
    samples: { median_tok_s: quantile(figures.samplesTs, 0.5), least_tok_s: Math.min(...figures.samplesTs), most_tok_s: Math.max(...figures.samplesTs) },
    bytes_read: counted.readBytes,
    os_bytes_read: counted.osReadBytes,
    reads: counted.reads,
    peak_bytes: peaks.processBytes,
    cgroup_peak_bytes: peaks.groupBytes,
    oom_kills: input.oomKills,
    bytes_written: input.bytesWritten,
    major_faults: counted.majorFaults,
    swapped_bytes: counted.swappedBytes,
    phases: phasesOf(input, figures),
    bandwidth: bandwidthOf(input),
    agreement: run.agreement === undefined ? null : { comparisons: run.agreement.comparisons, tokens: run.agreement.tokens, equal: true, resident: run.agreement.resident },
    sentinel: driftOf(run).filter(({ name }) => name === testName(test, protocol.depth)).map(({ drift }) => ({ drift_pct: drift * 100 }))[0] ?? null,
    baseline: baselineOf(run, test, figures),
    plan: {
      context: plan.contextLength, batch_positions: plan.regions.batchPositions, pin_count: plan.regions.pinCount, expert_slots: plan.regions.poolSlots,
      ring_bytes: plan.regions.ringBytes, resident_bytes: plan.residentBytes, streamed_bytes_per_sweep: plan.reads.streamedBytes, budget_source: plan.budgetSource, chosen: plan.chosen,
    },
    engine: { io: engine.ioBackend, direct: engine.direct, direct_reason: engine.directReason, isa: engine.isa, threads: engine.threads, huge_page_bytes: engine.hugePageBytes },
    protocol: { repetitions: figures.samplesNs.length, lead_tokens: leadOf(protocol, test), warmup_tokens: protocol.warmupTokens, steady_tokens: test.kind === 'tg' ? steadyTokens(test.tokens) : null, seed: protocol.seed, sampling: 'greedy' },
    guesses: guessesOf(input),
    wear: input.wear(figures),
    energy: input.energy(figures),
    drive: drive.name,
    environment: input.environment,
    warnings: input.warnings,
  }
}

const perTokenFields = (per: PerToken): Record<string, unknown> => ({
  bytes_per_token: per.bytes,
  os_bytes_per_token: per.osBytes,
  hit_rate: per.hitRate,
  expert_hit_rate: per.expertHitRate,
  stall_ms_per_token: per.stallMs,
  compute_ms_per_token: per.computeMs,
  stall_pct: per.stallPct,
  disk_gb_s: per.diskGbS,
  device_busy_pct: per.deviceBusyPct,
})

function phasesOf({ run }: RecordInput, { steady }: TestFigures): Record<string, unknown> {
  const { cold, warmup } = run.session
  return {
    cold: {
      pages_dropped: cold.pages.dropped, pages_reason: cold.pages.reason, load_ms: cold.loadMs, load_bytes: cold.loadBytes, os_load_bytes: cold.osLoadBytes,
      first_token_ms: cold.firstTokenMs, prompt_tokens: leadTokens,
    },
    warmup: warmup.tokens === 0 ? null : {
      tokens: warmup.tokens, tok_s: (warmup.tokens * 1000) / warmup.counted.ms, bytes_per_token: warmup.counted.readBytes / warmup.tokens,
      stall_ms_per_token: warmup.counted.stallMs / warmup.tokens, hit_rate: warmup.counted.hits / Math.max(1, warmup.counted.hits + warmup.counted.misses), major_faults: warmup.counted.majorFaults,
    },
    steady: steady === undefined ? null : { tokens: steady.tokens, tok_s: steady.tokensPerSecond, ...perTokenFields(steady), ...steady.spread },
  }
}

function guessesOf({ run: { session: { guesses } } }: RecordInput): Record<string, unknown> | null {
  if (guesses === undefined) return null
  const { mode, decided, scores } = guesses
  return {
    mode, acting: actingSource(guesses), decided: decided ?? null,
    scores: scores.map(({ name, tokens, precision, recall, recallOfAbsent }) => ({ name, tokens, precision, recall, recall_of_absent: recallOfAbsent ?? null })),
  }
}

function bandwidthOf({ run: { bandwidth } }: RecordInput): Record<string, unknown> {
  const { samples } = bandwidth
  return {
    bytes_per_second: bandwidth.bytesPerSecond ?? null,
    samples,
    spread_pct: samples.length < 2 ? null : ((Math.max(...samples) - Math.min(...samples)) / Math.max(...samples)) * 100,
    reason: bandwidth.reason ?? null,
    ...bandwidth.method,
  }
}

function baselineOf({ peer: rounds, protocol }: BenchRun, test: Test, { samplesTs }: TestFigures): Record<string, unknown> | null {
  if (rounds === undefined) return null
  const index = protocol.tests.indexOf(test)
  const done = rounds.runs.flatMap(({ figures }) => (figures === undefined ? [] : [{ speed: figures.speeds[index]!, read: figures.osReadBytes[index] ?? null }]))
  const speeds = done.map(({ speed }) => speed)
  return {
    peer: rounds.peer.name,
    version: rounds.peer.version,
    weights: rounds.peer.weights,
    samples_ts: speeds,
    avg_ts: speeds.length === 0 ? null : mean(speeds),
    ratio: ratioOf(samplesTs, speeds) ?? null,
    os_bytes_per_token: done.map(({ read }) => (read === null ? null : read / test.tokens)),
    runs: rounds.runs.map(({ outcome, reason, peakBytes, osReadBytesTotal, ms }) => ({ outcome, reason, peak_bytes: peakBytes, os_bytes_read: osReadBytesTotal, ms })),
  }
}
