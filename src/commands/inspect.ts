/** `hypura inspect`: what a file says of itself: metadata, tensors, and where its bytes lie. */
import { Argument, type Command, Option } from 'commander'
import { describeModel, type ModelDescription, openGguf } from '../../ts/engine/index.js'
import { bytes, count, percent, table } from '../format.js'
import { write, writeJson } from '../output.js'
import { printable } from '../terminal.js'

const sections = ['summary', 'metadata', 'tensors', 'map', 'template'] as const
type Section = (typeof sections)[number]

/** Elements shown of an array. */
const previewLength = 8
const stripWidth = 72

export function addInspect(root: Command): void {
  root
    .command('inspect')
    .description('show metadata, tensors and the map of a model file; reads no weights')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .addArgument(new Argument('[section]', 'what to show').choices(sections).default('summary'))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
    .action(inspect)
}

async function inspect(path: string, section: Section, { output }: { output: string }): Promise<void> {
  if (section === 'template') {
    const source = (await openGguf(path)).metadata.string('tokenizer.chat_template')
    return output === 'json' ? writeJson({ template: source ?? null }) : write(source === undefined ? 'no chat template\n' : `${printable(source)}\n`)
  }
  const model = await describeModel(path)
  if (output === 'json') return writeJson(json(model, section))
  const parts = {
    summary: () => [summary(model), '', map(model), '', metadata(model)].join('\n'),
    metadata: () => metadata(model),
    tensors: () => tensors(model),
    map: () => map(model),
  }
  await write(`${parts[section]()}\n`)
}

function summary({ path, gguf, manifest, spec }: ModelDescription): string {
  const experts = spec.nExpert === 0 ? 'dense' : `${spec.nExpert} experts, ${spec.nExpertUsed} used`
  return table([
    ['file', gguf.files.length === 1 ? path : `${path} (${gguf.files.length} parts)`],
    ['size', `${bytes(gguf.files.reduce((sum, file) => sum + file.sizeBytes, 0))}, GGUF v${gguf.version}`],
    ['architecture', `${manifest.architecture}, ${experts}`],
    ['parameters', count(parameters(gguf))],
    ['shape', `${spec.nLayer} layers, ${spec.nEmbd} wide, ${spec.nHead} heads / ${spec.nHeadKv} KV of ${spec.headDimK}, vocabulary ${spec.nVocab}`],
    ['context', `${spec.contextTrain} positions`],
    ['touched per token', `${bytes(tokenBytes({ manifest, spec }))}`],
    ['tokenizer', `${gguf.metadata.string('tokenizer.ggml.model') ?? 'none'}${gguf.metadata.has('tokenizer.ggml.pre') ? `, pre ${gguf.metadata.string('tokenizer.ggml.pre')}` : ''}`],
    ['chat template', gguf.metadata.has('tokenizer.chat_template') ? 'yes' : 'none'],
  ].map(([name, value]) => [name!, printable(value!)]).map((row) => [row[0]!.padEnd(18) + row[1]!]))
}

/** Weight bytes that one token needs: all bands, the experts it is routed to, one row of the embedding. */
function tokenBytes({ manifest, spec }: Pick<ModelDescription, 'manifest' | 'spec'>): number {
  const share = spec.nExpert === 0 ? 0 : spec.nExpertUsed / spec.nExpert
  return manifest.cycleBytes + manifest.trunkBytes + manifest.expertBytes * share + manifest.rowSlotBytes
}

function parameters(gguf: ModelDescription['gguf']): number {
  let sum = 0
  for (const { dims } of gguf.tensors.values()) sum += dims.reduce((product, dim) => product * dim, 1)
  return sum
}

function metadata({ gguf }: ModelDescription): string {
  return table([...gguf.metadata.keys()].map((key) => [`${key.padEnd(44)} ${typeName(gguf, key).padEnd(14)} ${preview(gguf, key)}`]))
}

function typeName({ metadata }: ModelDescription['gguf'], key: string): string {
  const array = metadata.arrayInfo(key)
  return array === undefined ? metadata.typeOf(key)! : `${array.type}[${array.length}]`
}

function preview({ metadata }: ModelDescription['gguf'], key: string): string {
  const value = metadata.preview(key, previewLength)
  const text = JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item)) ?? ''
  const more = (metadata.arrayInfo(key)?.length ?? 0) > previewLength ? ' …' : ''
  return printable(text.length > 100 ? `${text.slice(0, 100)}…` : text) + more
}

function tensors({ gguf }: ModelDescription): string {
  return table([
    ['tensor', 'type', 'shape', 'bytes', 'file', 'offset'],
    ...[...gguf.tensors.values()].map(({ name, typeName, dims, bytes: size, file, offset }) => [printable(name), typeName, dims.join(' x '), String(size), String(file), String(offset)]),
  ])
}

/** Bytes by use and by type, and the file as a strip. */
function map(description: ModelDescription): string {
  const { gguf } = description
  const total = gguf.tensorBytes
  const rows = (sums: ReadonlyMap<string, number>): string[][] => [...sums].sort((a, b) => b[1] - a[1]).map(([name, size]) => [`  ${name}`, bytes(size), percent(size / total)])
  const largest = [...gguf.tensors.values()].sort((a, b) => b.bytes - a.bytes).slice(0, 5)
  return [
    `map of ${bytes(total)} of tensors (. trunk  # bands  e embedding  x experts)`,
    strip(description),
    table([['by use', '', ''], ...rows(sumByUse(description)), ['by type', '', ''], ...rows(sumByType(description)), ['largest', '', ''], ...largest.map(({ name, bytes: size }) => [`  ${printable(name)}`, bytes(size), percent(size / total)])]),
  ].join('\n')
}

const uses = ['trunk (always in memory)', 'bands (pinned or streamed)', 'embedding rows', 'experts'] as const

/** Bytes by use. A tied head counts twice: as bands and as embedding rows. */
function sumByUse({ manifest }: ModelDescription): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [kind, size] of pieces(manifest)) sums.set(uses[kind]!, (sums.get(uses[kind]!) ?? 0) + size)
  return sums
}

function sumByType({ gguf }: ModelDescription): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { typeName: name, bytes: size } of gguf.tensors.values()) sums.set(name, (sums.get(name) ?? 0) + size)
  return sums
}

/** Block kind, bytes, file and offset of every extent. */
function* pieces({ blocks, extents }: ModelDescription['manifest']): Generator<[kind: number, bytes: number, file: number, offset: number]> {
  for (let block = 0; block < blocks.count; block++) {
    for (let i = 0; i < blocks.extentCount[block]!; i++) {
      const extent = blocks.firstExtent[block]! + i
      yield [blocks.kind[block]!, extents.bytes[extent]!, extents.file[extent]!, extents.offset[extent]!]
    }
  }
}

/** All files in a row; each cell shows the use of most of its bytes. */
function strip({ gguf, manifest }: ModelDescription): string {
  const starts = gguf.files.map((_, file) => gguf.files.slice(0, file).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))
  const total = gguf.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const cells = Array.from({ length: stripWidth }, () => new Float64Array(uses.length))
  const cellBytes = total / stripWidth
  for (const [kind, size, file, offset] of pieces(manifest)) {
    const begin = starts[file]! + offset
    for (let cell = Math.floor(begin / cellBytes); cell < stripWidth && cell * cellBytes < begin + size; cell++) {
      cells[cell]![kind]! += Math.min(begin + size, (cell + 1) * cellBytes) - Math.max(begin, cell * cellBytes)
    }
  }
  return cells.map((shares) => (shares.every((share) => share === 0) ? ' ' : '.#ex'[shares.indexOf(Math.max(...shares))])).join('')
}

function json(description: ModelDescription, section: Section): unknown {
  const { path, gguf, manifest, spec } = description
  const tensorList = [...gguf.tensors.values()]
  if (section === 'tensors') return tensorList
  const keys = Object.fromEntries([...gguf.metadata.keys()].map((key) => [key, { type: typeName(gguf, key), value: gguf.metadata.preview(key, previewLength) }]))
  if (section === 'metadata') return keys
  const byUse = Object.fromEntries(sumByUse(description))
  const byType = Object.fromEntries(sumByType(description))
  if (section === 'map') return { tensor_bytes: gguf.tensorBytes, by_use: byUse, by_type: byType, bytes_per_token: tokenBytes(description) }
  return {
    schema: 1, path, version: gguf.version,
    files: gguf.files.map((file) => ({ path: file.path, bytes: file.sizeBytes, data_offset: file.dataOffset })),
    architecture: manifest.architecture, parameters: parameters(gguf), tensor_bytes: gguf.tensorBytes, bytes_per_token: tokenBytes(description),
    spec: { ...spec, invFreq: [...spec.invFreq] },
    by_use: byUse, by_type: byType, metadata: keys, tensors: tensorList,
  }
}
