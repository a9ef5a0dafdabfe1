/** `hypura bench`: how fast, against what bound, with which proof; beside llama.cpp in the same memory where it is there. */
import { accessSync, constants, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { cgroupMemory, describeModel, driveOf, energyCounter, type GgufModel, HypuraError, type ModelDescription, processStats, smartReport } from '../../ts/engine/index.js'
import { findPeer } from '../bench/baseline/find-peer.js'
import { driveProbe } from '../bench/drive-probe.js'
import { build, environment, modelFacts } from '../bench/environment.js'
import { measuredTests } from '../bench/figures.js'
import { csv, human, markdown } from '../bench/formats.js'
import { type BenchFlags, prepare } from '../bench/prepare.js'
import { type Preview, previewOf, previewText } from '../bench/preview.js'
import { progressReporter } from '../bench/progress.js'
import { builtInPrompts } from '../bench/prompts.js'
import { energyOf, wearOf } from '../bench/costs.js'
import { type Row, rowsOf } from '../bench/rows.js'
import { type BenchRun, runBench } from '../bench/run-bench.js'
import { warningsOf } from '../bench/warnings.js'
import { catchInterrupts } from '../interrupts.js'
import { jsonText, write } from '../output.js'
import { warn } from '../terminal.js'
import { guessSourceOption, integer, kvTypeOption, real, size } from './shared-options.js'

const meterMs = 30_000

/** Tokens of one list: whole numbers, 0 for "none of this kind". */
function counts(text: string): number[] {
  const values = text.split(',').map(integer(0, 2 ** 20))
  if (values.length > 16) throw new InvalidArgumentError('At most 16 lengths are taken.')
  return values
}

const examples = `
Examples:
  hypura bench model.gguf                               pp512 and tg128, three times
  hypura bench model.gguf --memory 4GiB -p 0 -o md      generation alone, as a table for a page
  hypura bench model.gguf --baseline --out-file a.json  beside llama.cpp (node-llama-cpp), recorded
  hypura bench model.gguf --baseline ./llama-bench      beside llama.cpp's own program
  hypura bench model.gguf --dry-run                     what would be done, and how long it may take`

export function addBench(root: Command): void {
  root
    .command('bench')
    .description('measure prompt and generation speed against the drive\'s bound, with proof')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .option('-p, --n-prompt <n,...>', 'prompt tests of so many tokens, 0: none', counts, [512])
    .option('-n, --n-gen <n,...>', 'generation tests of so many tokens, 0: none', counts, [128])
    .option('-d, --n-depth <n>', 'positions in the cache before a test begins', integer(0, 2 ** 22), 0)
    .option('-r, --repetitions <n>', 'rounds of all tests, each with another prompt', integer(1, 1000), 3)
    .option('--warmup <n>', 'untimed tokens after loading (default: 8; streamed mixtures 64)', integer(0, 2 ** 20))
    .option('--memory <size>', 'what the engine may place: 12GiB, 75% or auto', size, 'auto')
    .addOption(new Option('--mode <mode>', 'how weights are held; mmap and bare are yardsticks').choices(['auto', 'resident', 'stream', 'mmap', 'bare']).default('auto'))
    .addOption(kvTypeOption())
    .option('-b, --batch-size <n>', 'positions of one prefill sweep, 1 to 512 (default: by memory)', integer(1, 512))
    .option('-t, --threads <n>', 'compute threads (default: usable cores)', integer(1, 256))
    .addOption(new Option('--io <backend>', 'how weights are read').choices(['auto', 'uring', 'pread', 'buffered']).default('auto'))
    .option('--io-depth <n>', 'reads in flight, 1 to 64 (default: 8)', integer(1, 64))
    .addOption(new Option('--eviction <policy>', 'who leaves the expert pool').choices(['cost-aware', 'frequency', 'recency']))
    .addOption(new Option('--guess <mode>', 'guesses of the next layer\'s experts: read them while it pays (auto), or always that').choices(['auto', 'off', 'shadow', 'retain', 'prefetch']))
    .addOption(guessSourceOption())
    .option('--tokenizer-pre <name>', 'pre-tokenizer of a BPE model, instead of the file\'s')
    .option('-s, --seed <n>', 'where the prompts begin in the built-in text', integer(0, 2 ** 32 - 1), 1)
    .option('--no-check-resident', 'do not compare the answers with a run in memory (below 2 GB)')
    .option('--baseline [path]', 'measure llama.cpp as well: its llama-bench, or node-llama-cpp')
    .option('--tbw <terabytes>', 'endurance rating of the drive, for the wear figures', real(0.001, 1e6))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json', 'md', 'csv']).default('human'))
    .option('--out-file <path>', 'write the record there as well: JSON, whatever -o says')
    .option('--dry-run', 'show what would be done and how long it may take')
    .addHelpText('after', examples)
    .action(bench)
}

async function bench(path: string, flags: BenchFlags): Promise<void> {
  const peer = flags.baseline === undefined ? undefined : findPeer(flags.baseline === true ? undefined : flags.baseline)
  requireWritable(flags.outFile)
  using interrupts = catchInterrupts()
  const startedAt = new Date().toISOString()
  const begin = { written: processStats().writtenBytes, oomKills: oomKills() }
  const description = await describeModel(path, { tokenizerPre: flags.tokenizerPre })
  const { protocol, load, plan } = await prepare(path, flags, description)
  if (flags.dryRun === true) return showPreview(previewOf(protocol, plan, description, flags), flags.output)

  const drive = driveOf(path)
  const smart = await smartReport(drive)
  const energy = energyCounter()
  const meter = setInterval(() => energy.available && energy.joules(), meterMs) // before its registers wrap
  meter.unref()
  const reporter = progressReporter(protocol.repetitions)
  const run = await runBench({
    protocol, load, drive, peer, reporter,
    prompts: builtInPrompts(description.tokenizer(), protocol.seed),
    paths: description.gguf.files.map((file) => file.path),
    probe: driveProbe({ ...largestOf(description), drive, plan, load, signal: interrupts.signal }),
    checkResident: flags.checkResident,
    signal: interrupts.signal,
  }).finally(() => {
    reporter.end()
    clearInterval(meter)
  })

  const figures = measuredTests(run)
  const warnings = warningsOf(run, figures)
  const model = await modelFacts(description)
  const written = processStats().writtenBytes
  const killed = oomKills()
  const rows = rowsOf({
    run, figures, warnings, model, drive, startedAt,
    build: build(),
    environment: await environment(description, model, drive),
    bytesWritten: written === undefined || begin.written === undefined ? null : written - begin.written,
    oomKills: killed === undefined || begin.oomKills === undefined ? null : killed - begin.oomKills,
    wear: (test) => wearOf({ test, startedWritten: begin.written, ratedTbw: flags.tbw, smart }),
    energy: (test) => energyOf(energy, test, figures),
  })
  await write(shown(rows, run, flags.output))
  for (const text of warnings) warn(text)
  if (flags.outFile !== undefined) writeRecord(flags.outFile, rows)
}

function shown(rows: readonly Row[], run: BenchRun, output: BenchFlags['output']): string {
  switch (output) {
    case 'json': return jsonText(rows)
    case 'md': return markdown(rows)
    case 'csv': return csv(rows)
    case 'human': return human(rows, run)
  }
}

async function showPreview(preview: Preview, output: BenchFlags['output']): Promise<void> {
  await write(output === 'json' ? jsonText(preview) : previewText(preview))
}

const largestOf = ({ gguf }: ModelDescription): GgufModel['files'][number] => gguf.files.reduce((most, file) => (file.sizeBytes > most.sizeBytes ? file : most))

function oomKills(): number | undefined {
  const group = cgroupMemory()
  return 'usageBytes' in group ? group.oomKills : undefined
}

/** Found out before hours of work. Errors: ERR_HYPURA_USAGE. */
function requireWritable(file: string | undefined): void {
  if (file === undefined) return
  try {
    accessSync(dirname(file), constants.W_OK)
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true) throw new Error('it is a folder')
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `--out-file: ${file} cannot be written: ${(error as Error).message}`, { path: file }, { cause: error })
  }
}

/** Whole or not at all: a record that was cut off would be taken for one. */
function writeRecord(file: string, rows: readonly Row[]): void {
  const half = `${file}.${process.pid}.tmp`
  writeFileSync(half, jsonText(rows))
  renameSync(half, file)
}
