/** `hypura doctor`: what this machine offers, which path each thing takes, and why a better one is not taken. */
import type { Command } from 'commander'
import { Option } from 'commander'
import { packageVersion, systemInfo, type SystemInfo } from '../../ts/engine/index.js'
import { bytes, table } from '../format.js'
import { write, writeJson } from '../output.js'

export function addDoctor(root: Command): void {
  root
    .command('doctor')
    .description('what this machine offers, what is used of it, and why not more')
    .argument('[path]', 'a model or folder: can its file system do direct reads?')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
    .action(async (path: string | undefined, { output }: { output: string }) => {
      const info = await systemInfo(path)
      if (output === 'json') await writeJson(info)
      else await write(human(info))
    })
}

function human({ hardware, memory, autoBudgetBytes, binaryPath, node }: SystemInfo): string {
  const { cpu, isa, io, direct } = hardware
  const rows: string[] = [
    `hypura ${packageVersion} · Node ${node} · ${binaryPath}`,
    '',
    `CPU          ${cpu.model}, ${cpu.usableCores} of ${cpu.logicalCores} cores usable (${cpu.features.join(' ')})`,
    `kernels      ${isa.name}: ${isa.reason} (can run: ${isa.runnable.join(', ')})`,
    `huge pages   ${hardware.transparentHugePages}`,
    `locked mem   up to ${Number.isFinite(hardware.memlockLimitBytes) ? bytes(hardware.memlockLimitBytes) : 'no limit'}`,
    '',
    'memory',
    indent(table(memory.map(({ source, limitBytes, availableBytes }) => [source, `${bytes(limitBytes)} in all`, `${bytes(availableBytes)} available`]))),
    `  --memory auto would place ${bytes(autoBudgetBytes)}`,
    '',
    'reads, best first',
    ...io.map(({ name, available, reason }) => `  ${available ? 'yes' : 'no '}  ${name.padEnd(9)} ${reason}`),
  ]
  if (direct !== undefined) {
    rows.push('', `direct reads ${direct.available ? `yes, aligned to ${direct.alignmentBytes} bytes` : 'no'}${direct.reason === '' ? '' : `: ${direct.reason}`}`)
  }
  return `${rows.join('\n')}\n`
}

const indent = (text: string): string => text.split('\n').map((line) => `  ${line}`).join('\n')
