/** `hypura iobench`: how fast the drive under a model can be read, by backend, block size and queue depth. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { benchDrive, type BenchBackend, type DriveBench, parseSize, saveProfile } from '../../ts/engine/index.js'
import { catchInterrupts } from '../interrupts.js'
import { ioBenchFormats } from '../iobench-formats.js'
import { write, writeJson } from '../output.js'
import { note, progressLine, warn } from '../terminal.js'
import { integer, real } from './shared-options.js'

interface IoBenchFlags {
  readonly backend?: BenchBackend[]
  readonly blockSize?: number[]
  readonly depth?: number[]
  readonly seconds?: number
  readonly seed?: number
  readonly quick?: boolean
  readonly save: boolean
  readonly force?: boolean
  readonly output: 'human' | 'json' | 'md' | 'csv'
}

/** A list of its own for each call of a parser: "1,4,8". */
const listOf = <T>(parse: (text: string) => T) => (text: string): T[] => text.split(',').map((part) => parse(part.trim()))

function blockSize(text: string): number {
  let bytes: number | undefined
  try {
    const size = parseSize(text)
    bytes = size.kind === 'bytes' ? size.bytes : undefined
  } catch {
    bytes = undefined
  }
  if (bytes === undefined || bytes % 4096 !== 0 || bytes < 4096 || bytes > 2 ** 24) throw new InvalidArgumentError('It must be sizes from 4KiB to 16MiB, multiples of 4KiB, e.g. 64KiB,4MiB.')
  return bytes
}

function backend(text: string): BenchBackend {
  if (text !== 'uring' && text !== 'pread' && text !== 'buffered') throw new InvalidArgumentError('It must be of uring, pread, buffered.')
  return text
}

export function addIoBench(root: Command): void {
  root
    .command('iobench')
    .description('how fast the drive under a file can be read; the result is kept for plans')
    .argument('<file>', 'a model, or any large file of the drive; nothing is written to it')
    .option('--backend <names>', 'only these: uring,pread,buffered (default: all that run here)', listOf(backend))
    .option('--block-size <sizes>', 'only these: 4KiB to 16MiB (default: a sweep)', listOf(blockSize))
    .option('--depth <numbers>', 'only so many blocks on their way, 1 to 64 (default: a sweep)', listOf(integer(1, 64)))
    .option('--seconds <n>', 'of each cell (default: 0.4)', real(0.01, 600))
    .option('-s, --seed <n>', 'order of the places that are read (default: drawn)', integer(0, 2 ** 32 - 1))
    .option('--quick', 'only what a plan needs: some seconds')
    .option('--no-save', 'do not keep the result')
    .option('--force', 'also measure what is no disk')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json', 'md', 'csv']).default('human'))
    .action(ioBench)
}

async function ioBench(path: string, flags: IoBenchFlags): Promise<void> {
  using interrupts = catchInterrupts()
  const bar = progressLine('reading')
  let result: DriveBench
  try {
    result = await benchDrive(path, {
      backends: flags.backend, blockSizes: flags.blockSize, depths: flags.depth, seconds: flags.seconds, seed: flags.seed, quick: flags.quick, force: flags.force,
      signal: interrupts.signal,
      onProgress: (done, total) => bar.update(done / total, `${done} of ${total} cells`),
    })
  } finally {
    bar.clear()
  }
  if (flags.output === 'json') await writeJson(ioBenchFormats.json(path, result))
  else await write(`${ioBenchFormats[flags.output](path, result)}\n`)
  for (const text of result.warnings) warn(text)
  if (!flags.save) return
  const why = saveProfile(path, [...result.own, ...result.cells])
  if (why === undefined) note('kept for plans: hypura plan uses this drive\'s own bandwidth from here on')
  else warn(`not kept: ${why}`)
}
