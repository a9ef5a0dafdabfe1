/** `hypura plan`: where memory would go, the floor, what the drive allows, and what more memory would buy. */
import { type Command, Option } from 'commander'
import { assumedDrive, type DriveCost, type Expectation, type KvType, type MeasuredCost, type MemoryItems, type ModelPlan, planModel } from '../../ts/engine/index.js'
import { bytes, percent, rate, sizeArgument, table } from '../format.js'
import { write, writeJson } from '../output.js'
import { warn } from '../terminal.js'
import { addMemoryFlags, addMirrorFlag, real } from './shared-options.js'

interface PlanFlags {
  readonly memory: string
  readonly ctxSize?: number
  readonly context?: number
  readonly kvType?: KvType
  readonly batchSize?: number
  readonly threads?: number
  readonly disk?: number
  readonly mirror?: string[]
  readonly output: 'human' | 'json'
}

export function addPlan(root: Command): void {
  const command = root
    .command('plan')
    .alias('estimate')
    .description('does it fit, where would memory go, how fast could it be; reads no weights')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .option('--disk <GB/s>', `read bandwidth of the drive, with --mirror of each (default: what iobench measured, else ${assumedDrive.bytesPerSecond / 1e9}, assumed)`, real(0.001, 10_000))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
  addMirrorFlag(addMemoryFlags(command)).action(plan)
}

async function plan(path: string, flags: PlanFlags): Promise<void> {
  const result = await planModel(path, { memory: flags.memory, contextLength: flags.ctxSize ?? flags.context, kvType: flags.kvType, batchSize: flags.batchSize, threads: flags.threads, mirrors: flags.mirror })
  const drive: DriveCost = flags.disk === undefined ? result.drive.cost : { ...result.drive.cost, bytesPerSecond: flags.disk * 1e9 }
  if (flags.output === 'json') return writeJson(json(path, result, drive, flags.disk === undefined ? result.drive.measuredAt : undefined))
  await write(`${human(path, result, drive, flags.disk === undefined ? origin(result.drive) : '')}\n`)
  for (const text of result.warnings) warn(text)
}

const itemNames: readonly (readonly [keyof MemoryItems, string])[] = [
  ['trunk', 'trunk (norms, biases, routers)'],
  ['pinned', 'pinned bands'],
  ['ring', 'ring of streamed bands'],
  ['experts', 'expert slots'],
  ['rows', 'embedding rows'],
  ['kv', 'KV cache'],
  ['scratch', 'scratch'],
  ['total', 'total'],
]

function human(path: string, plan: ModelPlan, drive: DriveCost, origin: string): string {
  const { chosen, floor, recommended, resident, cliff, regions } = plan
  const expectation = plan.expectation(drive)
  return [
    `${path}: ${plan.mode === 'resident' ? 'fits, stays in memory' : 'does not fit, is streamed'} · ${bytes(plan.modelBytes)} of weights · budget ${bytes(plan.budgetBytes)} (${plan.budgetSource})`,
    `context ${plan.contextLength} (KV ${regions.kvType}), prefill in sweeps of ${regions.batchPositions}, ${regions.pinCount} bands pinned${regions.poolSlots > 0 ? `, ${regions.poolSlots} expert slots` : ''}`,
    '',
    table([['', 'chosen', 'floor', 'recommended', 'all in memory'], ...itemNames.map(([key, name]) => [name, ...[chosen, floor, recommended, resident].map((items) => bytes(items[key]))])]),
    '',
    `floor        ${sizeArgument(floor.total)}: the least that runs`,
    ...(cliff === undefined ? [] : [`cliff        ${sizeArgument(cliff.total)}: holds the experts of one token; below it hardly any are found in memory`]),
    `process      ${bytes(plan.processBytes)} of Node and code come beside the budget ("auto" counts them)`,
    '',
    `read per token  ${range(expectation.bytesPerToken, bytes)} of ${bytes(expectation.coldBytesPerToken)}${expectation.hitRates === undefined ? '' : `, expert hits ${range(expectation.hitRates, percent)} expected`}`,
    `bound           ${speed(expectation)} at ${plan.drives > 1 ? `${plan.drives} x ` : ''}${rate(drive.bytesPerSecond / 1e9)} GB/s${origin}; compute may be slower`,
    '',
    'what memory buys',
    table([['  --memory', 'mode', 'read per token', 'bound'], ...plan.steps(drive).map((step) => [`  ${sizeArgument(step.budgetBytes)}`, step.mode, range(step.bytesPerToken, bytes), speed(step)])]),
  ].join('\n')
}

/** Where the bandwidth comes from, for people. */
function origin({ measuredAt }: MeasuredCost): string {
  return measuredAt === undefined ? ' (assumed; measure yours with hypura iobench)' : ` (measured on ${measuredAt.slice(0, 10)})`
}

function range({ low, high }: { low: number; high: number }, show: (value: number) => string): string {
  return show(low) === show(high) ? show(low) : `${show(low)} to ${show(high)}`
}

function speed({ tokensPerSecond }: Expectation): string {
  if (!Number.isFinite(tokensPerSecond.low)) return 'no reads'
  const { low, high } = tokensPerSecond
  return Number.isFinite(high) ? `${range({ low, high }, rate)} tok/s` : `${rate(low)} tok/s or more`
}

function json(path: string, plan: ModelPlan, drive: DriveCost, measuredAt: string | undefined): unknown {
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
  const expectation = (of: Expectation): unknown => ({
    cold_bytes_per_token: of.coldBytesPerToken,
    bytes_per_token: of.bytesPerToken,
    hit_rates: of.hitRates ?? null,
    bound_tok_s: { low: finite(of.tokensPerSecond.low), high: finite(of.tokensPerSecond.high) },
  })
  return {
    schema: 1,
    model: path,
    mode: plan.mode,
    budget_bytes: plan.budgetBytes,
    budget_source: plan.budgetSource,
    model_bytes: plan.modelBytes,
    resident_bytes: plan.residentBytes,
    process_bytes: plan.processBytes,
    context: plan.contextLength,
    kv_type: plan.regions.kvType,
    batch_positions: plan.regions.batchPositions,
    pin_count: plan.regions.pinCount,
    expert_slots: plan.regions.poolSlots,
    chosen: plan.chosen,
    floor: plan.floor,
    floor_bytes: plan.floor.total,
    recommended: plan.recommended,
    resident: plan.resident,
    cliff: plan.cliff ?? null,
    disk_bytes_per_second: drive.bytesPerSecond,
    disk_measured_at: measuredAt ?? null,
    drives: plan.drives,
    ...(expectation(plan.expectation(drive)) as object),
    steps: plan.steps(drive).map((step) => ({ budget_bytes: step.budgetBytes, mode: step.mode, ...(expectation(step) as object) })),
    warnings: plan.warnings,
  }
}
