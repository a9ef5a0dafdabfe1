/**
 * Runs a command in a fresh control group of exactly the memory asked for, and reports what the kernel counted.
 *
 *   scripts/with-memory-limit 2400MB -- node dist/src/cli.js run model.gguf -p "Once upon a time"
 *   scripts/with-memory-limit 1.66GB --read-bps 200MB --report run.json -- node dist/src/cli.js run model.gguf
 *
 * The scarcity is real: more than the limit is not to be had, and what insists is killed by the kernel, in this group only.
 */
import { closeSync, openSync, realpathSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Command, CommanderError, Option } from 'commander'
import { HypuraError } from '../ts/base/errors.js'
import { driveOf } from '../ts/machine/drive.js'
import { readText } from '../ts/machine/system-files.js'
import { formatSize, parseSize } from '../ts/prefetch/parse-size.js'
import type { GroupLimits } from './control-group.js'
import { type GroupRun, type LeftBehind, runInGroup } from './run-in-group.js'

/** As env and timeout end: whatever is not the command's own status. */
const ownFailure = 125
/** Processes named in the sentence; the report has all. */
const namedMax = 8

/** What `-o json` writes. Null is what this kernel does not say. */
export interface LimitReport {
  readonly version: 1
  readonly command: readonly string[]
  readonly group: { readonly version: 1 | 2; readonly path: string; readonly reason: string; readonly removed: boolean }
  readonly limitBytes: number
  readonly swapLimitBytes: number
  readonly read: { readonly device: string; readonly bytesPerSecond: number } | null
  /** Page cache included. The kernel's own mark, or the highest sample where it keeps none. */
  readonly peakBytes: number
  readonly peakIsSampled: boolean
  /** The highest of samples. */
  readonly swapPeakBytes: number
  readonly majorFaults: number | null
  /** How often an allocation met the limit, so that something had to be given back first. */
  readonly limitHits: number | null
  readonly oomKills: number | null
  readonly wallSeconds: number
  readonly exitStatus: number
  readonly signal: string | null
  readonly leftBehind: readonly LeftBehind[]
  readonly warnings: readonly string[]
}

interface Flags {
  readonly swap: string
  readonly readBps?: string
  readonly device?: string
  readonly output: 'human' | 'json'
  readonly report?: string
}

const notes = `
Sizes are written as hypura's --memory: 2400MB, 1.66GB, 2400MiB, or a number of bytes.
It takes root, or a control group that may be written. Version 1 and version 2 of control groups are spoken; version 2 has been
run on fixtures only.

Exit status: the command's own, 128 + n after signal n, ${ownFailure} where it could not be run under the limit.
Signals sent to this program go on to the command. Processes that it leaves behind are ended, SIGTERM first: they would keep
the group busy. If this program itself is killed by SIGKILL, the command goes on in its group and the empty folder stays.

Page cache is charged to the group that read it first. A file that others have in the cache costs this group nothing: drop the
caches, or read past them, before a peak is believed. --read-bps slows what comes from the device, never the cache.`

function program(): Command {
  return new Command('with-memory-limit')
    .description('Run a command under a memory limit that the kernel enforces, and report peak, faults, kills and time.')
    .usage('<limit> [options] [--] <command> [arguments...]')
    .argument('<limit>', 'memory for the command, page cache included')
    .argument('<command...>', 'what to run; what follows is its own')
    .option('--swap <size>', 'swap beside the memory', '0')
    .option('--read-bps <size>', 'bytes per second that may be read from the device')
    .option('--device <path>', 'that device, or a file on it (default: the drive of the working folder)')
    .addOption(new Option('-o, --output <format>', 'report for people or for programs').choices(['human', 'json']).default('human'))
    .option('--report <file>', 'write the report for programs there; implies -o json')
    .addHelpText('after', notes)
    .exitOverride()
}

/** `--` before the command, where it was left out: options behind it are its own. @param argv node, this script, words */
function divided(argv: readonly string[], options: readonly Option[]): string[] {
  let operands = 0
  for (let i = 2; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--') break
    if (word.startsWith('-')) i += options.some(({ short, long, required }) => required && (word === short || word === long)) ? 1 : 0
    else if (++operands === 2) return [...argv.slice(0, i), '--', ...argv.slice(i)]
  }
  return [...argv]
}

/** The status to end with. Errors: ERR_HYPURA_* where nothing was run, CommanderError for arguments. */
async function main(argv: readonly string[]): Promise<number> {
  const command = program()
  command.parse(divided(argv, command.options))
  const { swap, readBps, device, output, report } = command.opts<Flags>()
  const [limit, ...words] = command.args
  const limits: GroupLimits = {
    memoryBytes: bytesOf(limit!),
    swapBytes: /^0\D*$/.test(swap) ? 0 : bytesOf(swap),
    read: readBps === undefined ? undefined : { device: deviceToThrottle(device ?? '.'), bytesPerSecond: bytesOf(readBps) },
  }
  if (device !== undefined && readBps === undefined) throw usage('--device means nothing without --read-bps.')
  const file = report === undefined ? undefined : openReport(report)
  const run = await runInGroup(limits, words)
  const found = reportOf(words, limits, run)
  for (const line of sentences(found)) say(line)
  if (file !== undefined) {
    writeSync(file, `${JSON.stringify(found, null, 2)}\n`)
    closeSync(file)
  } else if (output === 'json') {
    process.stderr.write(`${JSON.stringify(found)}\n`)
  }
  return run.exitStatus
}

function bytesOf(text: string): number {
  const size = parseSize(text)
  if (size.kind !== 'bytes') throw usage(`"${text}" is no fixed amount. Write 2400MB, 1.66GB, 2400MiB, or a number of bytes.`)
  return size.bytes
}

/** "254:0" of the one whole device under a path. */
function deviceToThrottle(path: string): string {
  const drive = driveOf(path)
  const [name] = drive.devices
  if (name === undefined || drive.devices.length > 1) {
    const why = name === undefined ? drive.reason : `it is on ${drive.devices.join(' and ')}`
    throw usage(`reads of ${path} cannot be limited: ${why}. Name one device: --device /dev/nvme0n1.`)
  }
  const number = readText(join('/sys/block', name, 'dev'))?.trim()
  if (number === undefined) throw usage(`reads of ${name} cannot be limited: /sys does not tell its number.`)
  return number
}

function openReport(path: string): number {
  try {
    return openSync(path, 'w')
  } catch (error) {
    throw usage(`the report cannot be written: ${(error as Error).message}.`)
  }
}

function reportOf(command: readonly string[], limits: GroupLimits, run: GroupRun): LimitReport {
  const { figures, group } = run
  return {
    version: 1,
    command,
    group: { version: group.version, path: group.path, reason: group.reason, removed: run.notRemoved === undefined },
    limitBytes: group.limitBytes,
    swapLimitBytes: limits.swapBytes,
    read: limits.read ?? null,
    peakBytes: figures?.peakBytes ?? run.sampledPeakBytes,
    peakIsSampled: figures?.peakBytes === undefined,
    swapPeakBytes: run.sampledSwapBytes,
    majorFaults: figures?.majorFaults ?? null,
    limitHits: figures?.limitHits ?? null,
    oomKills: figures?.oomKills ?? null,
    wallSeconds: Number(run.wallSeconds.toFixed(3)),
    exitStatus: run.exitStatus,
    signal: run.signal,
    leftBehind: run.leftBehind,
    warnings: [group.warning, run.notRemoved === undefined ? '' : `the group could not be removed (${run.notRemoved}): rmdir it when its processes are gone`].filter((text) => text !== ''),
  }
}

function sentences(report: LimitReport): string[] {
  const count = (value: number | null, noun: string): string => (value === null ? `${noun}s not told` : `${value} ${noun}${value === 1 ? '' : 's'}`)
  const left = report.leftBehind.map(({ pid, name, endedBy }) => `${pid} (${name}) by ${endedBy}`)
  const more = left.length > namedMax ? ` and ${left.length - namedMax} more` : ''
  return [
    ...report.warnings,
    ...(left.length === 0 ? [] : [`ended what the command left behind, since it kept the group busy: ${left.slice(0, namedMax).join(', ')}${more}`]),
    [
      `peak ${report.peakIsSampled ? 'at least ' : ''}${report.peakBytes} of ${report.limitBytes} bytes (${formatSize(report.peakBytes)} of ${formatSize(report.limitBytes)})`,
      count(report.majorFaults, 'major fault'),
      count(report.oomKills, 'OOM kill'),
      `swap ${formatSize(report.swapPeakBytes)}`,
      `${report.wallSeconds.toFixed(1)} s`,
      `exit status ${report.exitStatus}`,
    ].join(', '),
  ]
}

const say = (text: string): void => void process.stderr.write(`with-memory-limit: ${text}\n`)
const usage = (message: string): HypuraError => new HypuraError('ERR_HYPURA_USAGE', message)

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  try {
    process.exitCode = await main(process.argv)
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : ownFailure // its sentence is out already
    } else {
      say(error instanceof HypuraError ? error.message : (error as Error).stack ?? String(error))
      process.exitCode = ownFailure
    }
  }
}
