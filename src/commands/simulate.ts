/** `hypura simulate`: what recorded runs would have been like with other policies, predictors and amounts of memory. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { assumedDrive, parseSize, predictors as known, readTrace, simulate, type SimulatedMemory, type SimulateOptions } from '../../ts/engine/index.js'
import { write, writeJson } from '../output.js'
import { simulationFormats } from '../simulation-formats.js'
import { integer, real } from './shared-options.js'

interface SimulateFlags {
  readonly memory: SimulatedMemory[]
  readonly disk: number
  readonly latency: number
  readonly planEvery: number
  readonly predictors: string[]
  readonly admission?: SimulateOptions['admission']
  readonly output: 'human' | 'json'
}

const predictorNames = [...known.keys(), 'oracle']
const memoriesMax = 16

function memories(text: string): SimulatedMemory[] {
  const sizes = text.split(',').map((part): SimulatedMemory => {
    const size = ((): ReturnType<typeof parseSize> => {
      try {
        return parseSize(part)
      } catch (error) {
        throw new InvalidArgumentError((error as Error).message)
      }
    })()
    if (size.kind === 'auto') throw new InvalidArgumentError('It must be sizes like 4GiB, or shares of the experts like 25%.')
    return size
  })
  if (sizes.length > memoriesMax) throw new InvalidArgumentError(`At most ${memoriesMax} are taken.`)
  return sizes
}

function names(text: string): string[] {
  if (text === 'off') return []
  const list = text.split(',').map((part) => part.trim())
  const wrong = list.find((name) => !predictorNames.includes(name))
  if (wrong !== undefined) throw new InvalidArgumentError(`"${wrong}" is none of them. Known: ${predictorNames.join(', ')}; off for none.`)
  return [...new Set(list)]
}

const examples = `
Examples:
  hypura simulate letter.trace                                   a quarter, half and three quarters
  hypura simulate letter.trace --memory 8GiB,12GiB --disk 3.5    of the whole budget, on another drive
  hypura simulate letter.trace --predictors off -o json          policies only`

export function addSimulate(root: Command): void {
  root
    .command('simulate')
    .description('replay a trace: eviction policies, predictors, and what more memory would buy')
    .argument('<trace...>', 'files that hypura trace recorded')
    .option('--memory <sizes>', 'a list: budgets like 8GiB, or shares of the experts (default: 25%,50%,75%)', memories, memories('25%,50%,75%'))
    .option('--disk <GB/s>', `read bandwidth of the drive (default: ${assumedDrive.bytesPerSecond / 1e9})`, real(0.001, 10_000), assumedDrive.bytesPerSecond / 1e9)
    .option('--latency <us>', `until a read's first byte (default: ${assumedDrive.latencySeconds * 1e6})`, real(0, 1e6), assumedDrive.latencySeconds * 1e6)
    .option('--plan-every <tokens>', 'between two plans (default: 4)', integer(1, 1e6), 4)
    .option('--predictors <names>', `a list of ${predictorNames.join(', ')}; or off (default: all)`, names, predictorNames.filter((name) => name !== 'none'))
    .addOption(new Option('--admission <how>', 'how prompts enter the pool, instead of what plans say').choices(['normal', 'keepHits', 'bypass']))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
    .addHelpText('after', examples)
    .action(replayTraces)
}

async function replayTraces(paths: readonly string[], flags: SimulateFlags): Promise<void> {
  const options: SimulateOptions = {
    memory: flags.memory,
    drive: { bytesPerSecond: flags.disk * 1e9, latencySeconds: flags.latency / 1e6 },
    planEvery: flags.planEvery, predictors: flags.predictors, admission: flags.admission,
  }
  const { json, human } = simulationFormats
  const results: unknown[] = []
  for (const path of paths) {
    const trace = await readTrace(path)
    const result = simulate(trace, options)
    if (flags.output === 'json') results.push(json(path, trace, result))
    else await write(`${human(path, trace, result)}\n${path === paths.at(-1) ? '' : '\n'}`)
  }
  if (flags.output === 'json') await writeJson({ schema: 1, disk_bytes_per_second: options.drive.bytesPerSecond, latency_seconds: options.drive.latencySeconds, plan_every: options.planEvery, traces: results })
}
