/** `hypura iobench`: how fast the drive under a model is, over block sizes, depths and ways of reading; remembered for plans. */
import { randomInt } from 'node:crypto'
import { statSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  canMeasure, type Drive, driveOf, HypuraError, packageVersion, parseSize, saveDriveProfile, stateFolder, systemInfo,
} from '../../ts/engine/index.js'
import { catchInterrupts } from '../interrupts.js'
import { csvText, humanText, jsonValue, markdownText, type Report } from '../iobench/report.js'
import { type Backend, sweep, type SweepResult } from '../iobench/sweep.js'
import { type Verdict, verdictOf } from '../iobench/verdict.js'
import { write, writeJson } from '../output.js'
import { progressLine, warn } from '../terminal.js'
import { integer, real } from './shared-options.js'

interface IobenchFlags {
  readonly backend: 'all' | 'auto' | Backend
  readonly blockSize?: number[]
  readonly depth?: number[]
  readonly seconds?: number
  readonly quick?: boolean
  readonly seed?: number
  readonly save: boolean
  readonly force?: boolean
  readonly output: 'human' | 'json' | 'md' | 'csv'
}

const pageBytes = 4096
const blockBytesMax = 16 * 2 ** 20
const full = { blockSizes: [2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24], depths: [1, 4, 8, 32], seconds: undefined }
const quick = { blockSizes: [2 ** 20, 2 ** 22], depths: [1, 8], seconds: 0.2 }

export function addIobench(root: Command): void {
  root
    .command('iobench')
    .description('how fast the drive under a model is, in every way of reading; remembered for plans')
    .argument('<model>', 'the file that is read; any large file on the drive will do')
    .addOption(new Option('--backend <name>', 'auto: the one that the engine takes').choices(['all', 'auto', 'uring', 'pread', 'buffered']).default('all'))
    .option('--block-size <sizes>', 'bytes of one block, or several: 256KiB,4MiB (up to 16MiB)', list(blockSize))
    .option('--depth <n>', 'blocks on their way at once, or several: 1,8 (up to 64)', list(integer(1, 64)))
    .option('--seconds <s>', 'of one cell (default: up to 0.5, so that places are not read twice)', real(0.01, 60))
    .option('--quick', 'few cells: a profile in some seconds')
    .option('-s, --seed <n>', 'of the places and the order (default: random, printed)', integer(0, 2 ** 32 - 1))
    .option('--no-save', 'do not remember the result')
    .option('--force', 'measure also what is not on a local drive; never remembered')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json', 'md', 'csv']).default('human'))
    .action(iobench)
}

async function iobench(path: string, flags: IobenchFlags): Promise<void> {
  using interrupts = catchInterrupts()
  const fileBytes = sizeOf(path)
  const drive = driveOf(path)
  const forced = isElsewhere(drive)
  if (forced && flags.force !== true) {
    throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `${path} is not on a local drive (${drive.name}, ${drive.fileSystem ?? drive.kind}): ${drive.reason}. Name a file on the drive in question, or measure this one with --force`, { path, kind: drive.kind })
  }
  const preset = flags.quick === true ? quick : full
  const blockSizes = flags.blockSize ?? preset.blockSizes
  const depths = flags.depth ?? preset.depths
  if (!blockSizes.some((size) => depths.some((depth) => canMeasure(size, depth)))) {
    throw new HypuraError('ERR_HYPURA_USAGE', 'no cell is left: blocks beyond 4MiB are several reads, and at most 64 reads are on their way. Give a smaller --block-size or --depth', { field: 'depth' })
  }
  const seed = flags.seed ?? randomInt(2 ** 32)
  const backends = await backendsOf(flags, path)
  const bar = progressLine('reading')
  let result: SweepResult
  try {
    result = await sweep({ path, fileBytes, backends, blockSizes, depths, seconds: flags.seconds ?? preset.seconds, seed, signal: interrupts.signal, onProgress: (fraction, detail) => bar.update(fraction, detail) })
  } finally {
    bar.clear()
  }
  const verdict = verdictOf(result, drive)
  await show({ path, fileBytes, drive, seed, forced, result, verdict, ...saved(flags, drive, result, verdict) }, flags.output)
}

/** What --force is for. An unknown place is measured, because most are drives behind unusual file systems. */
const isElsewhere = ({ kind }: Drive): boolean => kind === 'memory' || kind === 'network' || kind === 'overlay'

async function backendsOf({ backend, quick: isQuick }: IobenchFlags, path: string): Promise<Backend[] | undefined> {
  if (backend === 'auto' || (backend === 'all' && isQuick === true)) return undefined
  if (backend !== 'all') return [backend]
  const { io } = (await systemInfo(path)).hardware
  return io.filter(({ available }) => available).map(({ name }) => name as Backend)
}

/** A profile that cannot be written is a pity, not a failure: the figures are there. */
function saved({ save }: IobenchFlags, drive: Drive, result: SweepResult, { own, notSavedBecause }: Verdict): Pick<Report, 'savedTo' | 'notSavedBecause'> {
  if (!save) return { savedTo: undefined, notSavedBecause: '--no-save' }
  if (notSavedBecause !== undefined) return { savedTo: undefined, notSavedBecause }
  if (stateFolder() === undefined) return { savedTo: undefined, notSavedBecause: 'HYPURA_STATE_DIR is off' }
  try {
    const savedTo = saveDriveProfile(drive, {
      measuredAt: Date.now(),
      hypura: packageVersion,
      cost: { bytesPerSecond: own.bytesPerSecond, latencySeconds: result.lone.latencyMs.p50 / 1000 },
      cells: result.cells.filter(({ cached }) => !cached).map(({ backend, direct, blockBytes, depth, bytesPerSecond, latencyMs }) => ({ backend, direct, blockBytes, depth, bytesPerSecond, latencySeconds: latencyMs.p50 / 1000 })),
    })
    return { savedTo, notSavedBecause: savedTo === undefined ? `nothing identifies the drive (${drive.reason})` : undefined }
  } catch (error) {
    if (!(error instanceof HypuraError) || error.code !== 'ERR_HYPURA_IO') throw error
    warn(error.message)
    return { savedTo: undefined, notSavedBecause: error.message }
  }
}

async function show(report: Report, output: IobenchFlags['output']): Promise<void> {
  if (output === 'json') await writeJson(jsonValue(report))
  else await write(`${{ human: humanText, md: markdownText, csv: csvText }[output](report)}\n`)
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_NOT_FOUND', `${path} does not exist or cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, { path }, { cause: error })
  }
}

function blockSize(text: string): number {
  let value = NaN
  try {
    const size = parseSize(text)
    if (size.kind === 'bytes') value = size.bytes
  } catch {
    // said below, with what is allowed
  }
  if (!(value >= pageBytes && value <= blockBytesMax && value % pageBytes === 0)) throw new InvalidArgumentError('It must be a multiple of 4KiB, from 4KiB to 16MiB.')
  return value
}

/** "1,8" → [1, 8]: sorted, each once. */
function list(parse: (text: string) => number): (text: string) => number[] {
  return (text) => [...new Set(text.split(',').map((item) => parse(item.trim())))].sort((a, b) => a - b)
}
