/** `hypura doctor`: what this machine offers, which path each thing takes, and why a better one is not taken. */
import { readdirSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { driveCostFor, driveOf, HypuraError, kvTypes, type MeasuredCost, packageVersion, systemInfo, type SystemInfo } from '../../ts/engine/index.js'
import { bytes, table } from '../format.js'
import { write, writeJson } from '../output.js'

export function addDoctor(root: Command): void {
  root
    .command('doctor')
    .description('what this machine offers, what is used of it, and why not more')
    .argument('[path]', 'a model, or a folder of them: can its file system do direct reads?')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
    .action(async (path: string | undefined, { output }: { output: string }) => {
      const asked = path === undefined ? undefined : fileToAsk(path)
      const info = await systemInfo(asked)
      if (output === 'json') await writeJson({ ...info, kvTypes, path: asked ?? null, drive: asked === undefined ? null : { ...driveOf(asked), ...driveCostFor(asked) } })
      else await write(human(info, asked))
    })
}

/** Direct reads are asked of a file; of a folder, its first model answers, else its first file. Errors: ERR_HYPURA_NOT_FOUND, _USAGE. */
function fileToAsk(path: string): string {
  const found = inspected(path)
  if (found === undefined) throw new HypuraError('ERR_HYPURA_NOT_FOUND', `${path} does not exist or cannot be read`, { path })
  if (!found.isDirectory()) return path
  const names = readdirSync(path).sort((a, b) => Number(b.endsWith('.gguf')) - Number(a.endsWith('.gguf')) || (a < b ? -1 : 1))
  const name = names.find((candidate) => inspected(join(path, candidate))?.isFile() === true)
  if (name === undefined) throw new HypuraError('ERR_HYPURA_USAGE', `there is no file in ${path} that could be asked for direct reads: put the model there first`, { path })
  return join(path, name)
}

function inspected(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined // dangling links and forbidden folders are passed over
  }
}

function human({ hardware, memory, autoBudgetBytes, binaryPath, node }: SystemInfo, path: string | undefined): string {
  const { cpu, isa, io } = hardware
  return `${[
    `hypura ${packageVersion} · Node ${node} · ${binaryPath}`,
    '',
    `CPU           ${cpu.model}, ${cpu.usableCores} of ${cpu.logicalCores} cores usable (${cpu.features.join(' ')})`,
    `kernels       ${isa.name}: ${isa.reason} (can run: ${isa.runnable.join(', ')})`,
    `KV cache      ${kvTypes.join(' or ')} (--kv-type)`,
    `huge pages    ${hardware.transparentHugePages}`,
    `locked memory ${Number.isFinite(hardware.memlockLimitBytes) ? `up to ${bytes(hardware.memlockLimitBytes)}` : 'no limit'}`,
    '',
    'memory',
    indent(table(memory.map(({ source, limitBytes, availableBytes }) => [source, `${bytes(limitBytes)} in all`, `${bytes(availableBytes)} available`]))),
    `  --memory auto would place ${bytes(autoBudgetBytes)}`,
    '',
    'reads, best first',
    ...io.map(({ name, available, reason }) => `  ${available ? 'yes' : 'no '}  ${name.padEnd(9)} ${reason === '' ? (available ? 'available' : 'not available') : reason}`),
    `  --io auto takes ${io.find(({ available }) => available)?.name ?? 'none: nothing here can read weights'}`,
    '',
    `direct reads  ${direct(hardware.direct, path)}`,
    ...(path === undefined ? [] : [`drive         ${drive(path, driveCostFor(path))}`]),
  ].join('\n')}\n`
}

function direct(found: SystemInfo['hardware']['direct'], path: string | undefined): string {
  if (found === undefined || path === undefined) return 'not asked; name a model: hypura doctor model.gguf'
  return `${found.available ? `yes, aligned to ${found.alignmentBytes} bytes` : 'no, weights go through the page cache'}${found.reason === '' ? '' : `: ${found.reason}`} (${path})`
}

function drive(path: string, { measured, measuredAt, cost, warning }: MeasuredCost): string {
  const { name, kind, model, fileSystem, reason } = driveOf(path)
  const speed = measured ? `${(cost.bytesPerSecond / 1e9).toFixed(2)} GB/s measured on ${measuredAt!.slice(0, 10)}` : `not measured yet: hypura iobench ${path}`
  return `${name}${model === undefined ? '' : ` (${model})`}, ${fileSystem ?? kind}${reason === '' ? '' : ` (${reason})`}: ${speed}${warning === undefined ? '' : `; ${warning}`}`
}

const indent = (text: string): string => text.split('\n').map((line) => `  ${line}`).join('\n')
