/** On what a figure was measured: enough to find the same machine, build and model again. No serial numbers, no user's names, no paths. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { availableParallelism, loadavg, release, totalmem, type as systemName } from 'node:os'
import { join } from 'node:path'
import { cgroupMemory, type Drive, type ModelDescription, packageRoot, packageVersion, systemInfo } from '../../ts/engine/index.js'
import { parameters, textOf } from '../inspect/subject.js'

export interface Build {
  /** Of the checkout, with "-dirty" behind it where files differ; else the package's version. */
  readonly commit: string
  /** Commits up to it; 0 outside of a checkout. */
  readonly number: number
}

export function build(): Build {
  if (!existsSync(join(packageRoot, '.git'))) return { commit: packageVersion, number: 0 }
  const git = (...args: string[]): string => spawnSync('git', ['-C', packageRoot, ...args], { encoding: 'utf8' }).stdout?.trim() ?? ''
  const commit = git('rev-parse', '--short', 'HEAD')
  if (commit === '') return { commit: packageVersion, number: 0 }
  return { commit: `${commit}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '-dirty'}`, number: Number(git('rev-list', '--count', 'HEAD')) || 0 }
}

export interface ModelFacts {
  readonly type: string
  readonly tensorBytes: number
  readonly parameters: number
  /** SHA-256 over the headers of all its files: metadata, names, types and places of the tensors, not the weights. */
  readonly headerSha256: string
}

export async function modelFacts({ gguf, manifest }: ModelDescription): Promise<ModelFacts> {
  const count = parameters({ gguf })
  const hash = createHash('sha256')
  for (const { path, dataOffset } of gguf.files) {
    await using file = await open(path)
    const header = Buffer.alloc(dataOffset)
    const { bytesRead } = await file.read(header, 0, dataOffset, 0)
    hash.update(header.subarray(0, bytesRead))
  }
  return { type: `${manifest.architecture} ${sizeName(count)} ${fileTypeName({ gguf })}`, tensorBytes: gguf.tensorBytes, parameters: count, headerSha256: hash.digest('hex') }
}

const sizeName = (count: number): string => (count >= 1e9 ? `${Number((count / 1e9).toPrecision(2))}B` : `${Number((count / 1e6).toPrecision(2))}M`)

/** general.file_type as llama.cpp prints it. */
const fileTypes: Readonly<Record<number, string>> = {
  0: 'all F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 7: 'Q8_0', 8: 'Q5_0', 9: 'Q5_1', 10: 'Q2_K - Medium', 11: 'Q3_K - Small', 12: 'Q3_K - Medium',
  13: 'Q3_K - Large', 14: 'Q4_K - Small', 15: 'Q4_K - Medium', 16: 'Q5_K - Small', 17: 'Q5_K - Medium', 18: 'Q6_K', 25: 'IQ4_NL - 4.5 bpw',
  30: 'IQ4_XS - 4.25 bpw', 32: 'BF16', 38: 'MXFP4 MoE',
}

/** What the file calls itself; else the type that most of its bytes have. */
function fileTypeName({ gguf }: Pick<ModelDescription, 'gguf'>): string {
  const known = gguf.metadata.typeOf('general.file_type') === 'u32' ? fileTypes[gguf.metadata.integer('general.file_type') ?? -1] : undefined
  if (known !== undefined) return known
  const sums = new Map<string, number>()
  for (const { typeName, bytes } of gguf.tensors.values()) sums.set(typeName, (sums.get(typeName) ?? 0) + bytes)
  return [...sums].reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['unknown', 0])[0]
}

export async function environment(description: ModelDescription, facts: ModelFacts, drive: Drive): Promise<Readonly<Record<string, unknown>>> {
  const { hardware, memory } = await systemInfo(description.path)
  const group = cgroupMemory()
  return {
    hypura: packageVersion,
    node: process.version,
    system: `${systemName()} ${release()}`,
    cpu: hardware.cpu.model,
    cores: availableParallelism(),
    isa: hardware.isa.name,
    memory_bytes: totalmem(),
    memory_limits: memory.map(({ source, limitBytes, availableBytes }) => ({ source: source.startsWith('cgroup ') ? 'cgroup' : source, limit_bytes: limitBytes, available_bytes: availableBytes })),
    cgroup: 'usageBytes' in group ? { version: group.version, limit_bytes: group.limitBytes ?? null } : null,
    transparent_huge_pages: hardware.transparentHugePages,
    /** Processes that wanted to run, over one minute: a busy machine makes slow figures. */
    load_average: loadavg()[0],
    drive: {
      name: drive.name, kind: drive.kind, file_system: drive.fileSystem ?? null, model: drive.model ?? null, firmware: drive.firmware ?? null,
      size_bytes: drive.sizeBytes ?? null, read_ahead_kib: drive.devices.map((device) => readAhead(device)),
    },
    model: {
      name: textOf(description.gguf, 'general.name') ?? null,
      architecture: description.manifest.architecture,
      file_bytes: description.gguf.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      header_sha256: facts.headerSha256,
    },
  }
}

function readAhead(device: string): number | null {
  try {
    return Number(readFileSync(`/sys/block/${device}/queue/read_ahead_kb`, 'utf8'))
  } catch {
    return null
  }
}
