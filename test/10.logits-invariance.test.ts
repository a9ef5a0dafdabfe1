// What could break: a byte that arrives late, a band in the wrong slot, a kernel that sums in another order when the batch
// or the thread count changes. Each would move a logit.
// How we notice: one SHA-256 over budgets, backends, threads, chunk sizes, instruction sets and the two modes without a cache, per model and type of its KV
// cache. HYPURA_LONG=1 covers all triples of settings instead of all pairs.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeModel } from '../scripts/make-model.js'
import { checkoutRoot } from '../scripts/tidy.js'
import { type KvType, planModel, systemInfo } from '../ts/engine/index.js'
import { allConfigurations, type Configuration, cover, logitsHash, withIsa } from './support/logits-hash.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-invariance-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const { hardware } = await systemInfo()
const isLong = process.env['HYPURA_LONG'] !== undefined
const configurations = cover(allConfigurations(hardware.isa.runnable, isLong), isLong ? 3 : 2)
const backends = new Set(hardware.io.filter(({ available }) => available).map(({ name }) => name))

test('each instruction set can be asked for', async () => {
  for (const isa of hardware.isa.runnable) expect(await withIsa(isa, async () => (await systemInfo()).hardware.isa.name)).toBe(isa)
})

async function memoryOf(path: string, { budget, threads }: Configuration, positions: number, kvType: KvType): Promise<number | string> {
  const fileBytes = statSync(path).size
  const plan = await planModel(path, { memory: 2 * fileBytes + 2 ** 28, contextLength: positions, batchSize: 1, logitsRows: 1, kvType, threads })
  const share = { resident: 2 * fileBytes + 2 ** 28, floor: 0, '40 %': 0.4 * fileBytes, '70 %': 0.7 * fileBytes }[budget]
  return Math.ceil(Math.max(plan.floor.total, share))
}

/** @returns the hash */
async function expectOneHash(path: string, positions: number, kvType: KvType = 'f16'): Promise<string> {
  const hashes = new Map<string, string[]>()
  let streamed = 0
  for (const configuration of configurations) {
    if (!backends.has(configuration.backend)) continue
    const memory = await memoryOf(path, configuration, positions, kvType)
    const run = await withIsa(configuration.isa, () => logitsHash(path, {
      memory, positions, kvType,
      batchSize: configuration.batchSize,
      logitsRows: 1,
      threads: configuration.threads,
      io: { backend: configuration.backend },
    }))
    if (run.mode === 'stream' && run.missBytes > 0) streamed++
    hashes.set(run.sha256, [...(hashes.get(run.sha256) ?? []), `${run.mode} ${JSON.stringify(configuration)}`])
  }
  for (const mode of ['mmap', 'bare'] as const) {
    const run = await logitsHash(path, { mode, positions, kvType, batchSize: 7, logitsRows: 1 })
    hashes.set(run.sha256, [...(hashes.get(run.sha256) ?? []), mode])
    expect([run.mode, run.readBytes]).toEqual([mode, 0])
  }
  expect([...hashes.values()], 'one hash for all').toHaveLength(1)
  expect(streamed, 'runs that streamed').toBeGreaterThan(configurations.length / 4)
  return [...hashes.keys()][0]!
}

describe('shipped models', () => {
  const models = readdirSync(join(checkoutRoot, 'models')).filter((name) => name.endsWith('.gguf'))
  test('there are some', () => expect(models.length).toBeGreaterThan(5))
  test.each(models)('%s', async (name) => {
    const path = join(checkoutRoot, 'models', name)
    expect(existsSync(path)).toBe(true)
    // Some cross the border of KV pages and attention chunks at 256 positions.
    await expectOneHash(path, /moe-q8_0|dense-q4_k_m/.test(name) ? 270 : 64)
  }, 300_000)
  test.each(['fable-moe-q8_0.gguf', 'fable-draft-q8_0.gguf'])('%s with a Q8_0 KV cache', async (name) => {
    const path = join(checkoutRoot, 'models', name)
    expect(await expectOneHash(path, 270, 'q8_0')).not.toBe((await logitsHash(path, { positions: 270, logitsRows: 1 })).sha256)
  }, 300_000)
})

const types = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'mxfp4'] as const

describe('generated models of every tensor type', () => {
  test.each(types.flatMap((quant) => [['llama', quant] as const, ['qwen3moe', quant] as const]))('%s %s', async (arch, quant) => {
    const path = join(folder, `${arch}-${quant}.gguf`)
    await makeModel({ arch, quant, out: path, seed: 7, layers: 2, width: 256, heads: 4, kvHeads: 2, ff: 512, vocab: 512, context: 512, ...(arch === 'qwen3moe' ? { experts: 8, expertsUsed: 2, expertFf: 256 } : {}) })
    await expectOneHash(path, 64)
    rmSync(path)
  }, 300_000)
})
