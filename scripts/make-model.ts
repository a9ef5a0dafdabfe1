/**
 * Generates GGUF models of any shape with random weights: valid files for tests and measurements, not for reading.
 *
 *   node dist/scripts/make-model.js --preset 7b --seed 1 model.gguf
 *   node dist/scripts/make-model.js --arch qwen3moe --layers 12 --width 2048 --quant q4_k_m --split 3 model.gguf
 *
 * The same options give the same bytes. Memory is constant: a few MiB, whatever the size of the file.
 */
import { realpathSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { Command, InvalidArgumentError, Option } from 'commander'
import { errorCodes, HypuraError } from '../ts/base/errors.js'
import { ggufLimits } from '../ts/gguf/limits.js'
import { padded, tensorBytes, writeGguf, type GgufMetadata, type GgufValue, type TensorSource } from './gguf-writer.js'
import { modelMetadata, modelTensors } from './model-content.js'
import { architectures, presets, quants, resolveShape, ropeScalings, type ModelShape, type Preset } from './model-shape.js'

export interface MakeModelOptions extends Partial<ModelShape> {
  /** Path of the file; of a split model `x.gguf` becomes `x-00001-of-00003.gguf` and so on. */
  readonly out: string
  readonly preset?: Preset
  /** Number of files, 1 by default. */
  readonly split?: number
}

/**
 * Writes a model. Replaces existing files.
 * @throws ERR_HYPURA_USAGE for impossible shapes, before anything is written
 */
export async function makeModel({ out, preset, split = 1, ...given }: MakeModelOptions): Promise<void> {
  const shape = resolveShape(given, preset)
  const metadata = modelMetadata(shape)
  const tensors = modelTensors(shape)
  if (!Number.isInteger(split) || split < 1 || split > Math.min(tensors.length, ggufLimits.parts)) {
    throw new HypuraError('ERR_HYPURA_USAGE', `--split: ${split} is not a whole number from 1 to ${Math.min(tensors.length, ggufLimits.parts)}.`, { field: 'split' })
  }
  if (split === 1) {
    await writeGguf(out, { metadata, tensors })
    return
  }
  for (const [no, part] of partition(tensors, split).entries()) {
    const own: GgufMetadata = [...(no === 0 ? metadata : []), ...splitKeys(no, split, tensors.length)]
    await writeGguf(partPath(out, no, split), { metadata: own, tensors: part })
  }
}

/** The name of part `no` (from 0) of a model that was asked for as `out`. */
export function partPath(out: string, no: number, split: number): string {
  const digits = (value: number): string => String(value).padStart(5, '0')
  return `${out.replace(/\.gguf$/, '')}-${digits(no + 1)}-of-${digits(split)}.gguf`
}

function splitKeys(no: number, split: number, tensors: number): [string, GgufValue][] {
  return [
    ['split.no', { type: 'u16', value: no }],
    ['split.count', { type: 'u16', value: split }],
    ['split.tensors.count', { type: 'i32', value: tensors }],
  ]
}

/** Cuts the list into `count` runs of about equal bytes, none of them empty. */
function partition(tensors: readonly TensorSource[], count: number): TensorSource[][] {
  const sizes = tensors.map(({ type, dims }) => padded(tensorBytes(type, dims), 32))
  const share = sizes.reduce((sum, bytes) => sum + bytes, 0) / count
  const parts: TensorSource[][] = [[]]
  let bytes = 0
  for (const [i, tensor] of tensors.entries()) {
    const left = tensors.length - i
    const full = bytes >= share * parts.length || left <= count - parts.length
    if (full && parts.length < count && parts.at(-1)!.length > 0) parts.push([])
    parts.at(-1)!.push(tensor)
    bytes += sizes[i]!
  }
  return parts
}

function numberOf(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('wanted is a number')
  return value
}

function command(): Command {
  const number = (flags: string, description: string): Option => new Option(flags, description).argParser(numberOf)
  const choice = (flags: string, description: string, choices: readonly string[]): Option => new Option(flags, description).choices(choices)
  return new Command('make-model')
    .description('Generate a GGUF model with random weights.')
    .argument('<out.gguf>', 'file to write')
    .addOption(choice('--preset <name>', 'shape to start from', Object.keys(presets)))
    .addOption(choice('--arch <name>', 'family', architectures))
    .addOption(number('--layers <n>', 'layers'))
    .addOption(number('--width <n>', 'embedding length'))
    .addOption(number('--heads <n>', 'attention heads'))
    .addOption(number('--kv-heads <n>', 'key and value heads'))
    .addOption(number('--head-dim <n>', 'length of a head'))
    .addOption(number('--ff <n>', 'length of the dense feed-forward layer'))
    .addOption(number('--experts <n>', 'experts per layer'))
    .addOption(number('--experts-used <n>', 'experts per token'))
    .addOption(number('--expert-ff <n>', 'length of an expert'))
    .addOption(number('--vocab <n>', 'tokens, at least 257'))
    .addOption(number('--context <n>', 'declared context length'))
    .addOption(number('--rope-base <x>', 'base of the rotation frequencies'))
    .addOption(choice('--rope-scaling <kind>', 'context extension', ropeScalings))
    .addOption(number('--rope-factor <x>', 'its factor'))
    .addOption(number('--rope-original-context <n>', 'context before it'))
    .option('--tied', 'share the embedding with the output head')
    .option('--no-tied', 'own output head')
    .addOption(choice('--quant <type>', 'weight type or mix', quants))
    .addOption(number('--seed <n>', 'seed of all weights'))
    .addOption(number('--split <n>', 'number of files'))
    .option('--name <text>', 'general.name')
}

async function main(argv: readonly string[]): Promise<void> {
  const program = command().parse(argv)
  const begin = performance.now()
  // Without --tied or --no-tied the preset decides, although commander presets `tied` for a negatable option.
  const { tied, ...options } = program.opts<Omit<MakeModelOptions, 'out'>>()
  const given = program.getOptionValueSource('tied') === 'cli' && tied !== undefined ? { ...options, tied } : options
  try {
    await makeModel({ ...given, out: program.args[0]! })
    process.stderr.write(`${program.args[0]} written in ${((performance.now() - begin) / 1000).toFixed(1)} s\n`)
  } catch (error) {
    if (!(error instanceof HypuraError)) throw error
    process.stderr.write(`${error.code}: ${error.message}\n`)
    process.exitCode = errorCodes[error.code]
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) await main(process.argv)
