// What could break: a type of the KV cache that is taken and not used, or costs more than blocks of 32 must; pages counted by
// the bytes of another type, so that memory is wasted or a cache overlaps itself; heads that do not fit, noticed by a crash.
// How we notice: the bytes of a page by hand, for each type; logits of a trained model beside those with halves, which must
// differ, and by less than what quantising the weights costs; a model with odd heads, through the library and the program.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeModel } from '../scripts/make-model.js'
import { checkoutRoot } from '../scripts/tidy.js'
import { describeModel, HypuraError, type KvType, loadModel, type LoadOptions, planModel } from '../ts/engine/index.js'
import { AgreementMeter } from './support/compare-logits.js'
import { modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-kv-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const dense = modelPath('fable-dense-q4_k_m.gguf')

/** Of a row of one head's keys, or values. */
const rowBytes: Readonly<Record<KvType, (dim: number) => number>> = { f16: (dim) => 2 * dim, q8_0: (dim) => (dim / 32) * 34 }
const pageOf = (contextLength: number): number => Math.ceil(contextLength / 256)

describe.each(['f16', 'q8_0'] as const)('%s', (kvType) => {
  test.each([
    { contextLength: 1, sequencesMax: 1 }, { contextLength: 256, sequencesMax: 1 }, { contextLength: 257, sequencesMax: 3 },
  ])('takes whole pages of 256 positions: $contextLength positions, $sequencesMax sequences', async ({ contextLength, sequencesMax }) => {
    for (const mode of ['auto', 'mmap'] as const) {
      const { spec } = await describeModel(dense)
      const { chosen, regions } = await planModel(dense, { memory: '64MiB', contextLength, sequencesMax, kvType, mode })
      const page = 256 * spec.nHeadKv * (rowBytes[kvType](spec.headDimK) + rowBytes[kvType](spec.headDimV))
      expect(regions).toMatchObject({ kvType, kvBytes: sequencesMax * spec.nLayer * pageOf(contextLength) * page })
      expect(chosen.kv).toBe(Math.ceil(regions.kvBytes / 4096) * 4096)
    }
  })
})

test('what the cache does not take is left for weights, at the same budget', async () => {
  const of = async (kvType: KvType): Promise<number> => (await planModel(dense, { memory: '7MiB', contextLength: 1024, batchSize: 16, kvType })).chosen.pinned
  expect(await of('q8_0')).toBeGreaterThan(await of('f16'))
})

test('below the floor the smaller cache is advised where it would do, and only there', async () => {
  const floorOf = async (kvType: KvType): Promise<number> => (await planModel(dense, { memory: '64MiB', contextLength: 1024, kvType })).floor.total
  const [halves, blocks] = [await floorOf('f16'), await floorOf('q8_0')]
  const refusal = (memory: number, kvType: KvType): Promise<unknown> => planModel(dense, { memory, contextLength: 1024, kvType }).catch((error: unknown) => error instanceof HypuraError ? error.message : error)
  expect(await refusal(halves - 1, 'f16')).toContain('or --kv-type q8_0 (needs ')
  expect(await refusal(blocks, 'f16')).toContain('--kv-type q8_0')
  expect(await refusal(blocks, 'q8_0')).toMatchObject({ mode: 'stream' })
  for (const message of [await refusal(blocks - 1, 'f16'), await refusal(blocks - 1, 'q8_0')]) {
    expect(message).toContain('Give --memory')
    expect(message).not.toContain('--kv-type')
  }
})

/** Rows of logits, window after window. */
async function logitsOf(path: string, windows: readonly (readonly number[])[], options: LoadOptions): Promise<Float32Array[]> {
  const { nVocab } = (await describeModel(path)).spec
  await using model = await loadModel(path, { contextLength: windows[0]!.length, logitsRows: 32, ...options })
  await using sequence = model.createSequence()
  const all: Float32Array[] = []
  for (const window of windows) {
    sequence.truncate(0)
    await sequence.evaluate(window, (rows, _, count) => {
      for (let i = 0; i < count; i++) all.push(rows.slice(i * nVocab, (i + 1) * nVocab))
    })
  }
  return all
}

test('logits of a trained model are near those with halves, and are others', async () => {
  const tokenizer = (await describeModel(dense)).tokenizer()
  const tokens = tokenizer.encode(readFileSync(join(checkoutRoot, 'test/golden/tale.txt'), 'utf8'))
  const windows = [0, 1].map((i) => [...tokens.slice(400 * i, 400 * (i + 1))])
  const meter = new AgreementMeter()
  const [f16, q8] = [await logitsOf(dense, windows, {}), await logitsOf(dense, windows, { kvType: 'q8_0' })]
  f16.forEach((row, i) => meter.add(row, q8[i]!))
  const { meanKl, sameTop, positions } = meter.result()
  expect(positions).toBe(800)
  expect(meanKl).toBeGreaterThan(1e-8)
  expect(meanKl).toBeLessThan(1e-3)
  expect(sameTop).toBeGreaterThan(0.97)
})

describe('heads of 48 elements', async () => {
  const odd = join(folder, 'odd.gguf')
  await makeModel({ out: odd, layers: 1, width: 96, heads: 2, kvHeads: 1, headDim: 48, ff: 64, vocab: 512, context: 64 })

  test('are refused with their size and what to do', async () => {
    const error = await planModel(odd, { kvType: 'q8_0' }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(HypuraError)
    expect(error).toMatchObject({ code: 'ERR_HYPURA_UNSUPPORTED', details: { field: 'kvType', found: 48 } })
    for (const command of ['run', 'bench']) {
      const { code, stdout, stderr } = await runCli([command, odd, '--kv-type', 'q8_0', ...(command === 'run' ? ['-p', 'x'] : [])])
      expect({ code, stdout }, command).toEqual({ code: 1, stdout: '' })
      expect(stderr, command).toMatch(/blocks of 32 elements, this model's have 48\. Leave --kv-type out/)
    }
  })

  test('run with halves', async () => expect((await runCli(['run', odd, '-p', 'x', '-n', '1', '--kv-type', 'f16'])).code).toBe(0))
})

test('a misspelt type is refused by name', async () => {
  await expect(loadModel(dense, { kvType: 'q8' as KvType })).rejects.toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT', message: expect.stringContaining('kvType') as string })
})

test('the program says which type it used', async () => {
  const json = async (...args: string[]): Promise<Record<string, unknown>> => JSON.parse((await runCli(args)).stdout) as Record<string, unknown>
  for (const type of ['f16', 'q8_0']) {
    expect(await json('plan', dense, '--kv-type', type, '-o', 'json')).toMatchObject({ kv_type: type })
    expect(await json('logits', dense, '-p', 'Once', '--kv-type', type)).toMatchObject({ kv_type: type })
  }
  expect(await json('bench', dense, '--kv-type', 'q8_0', '--dry-run', '-o', 'json')).toMatchObject({ kv_type: 'q8_0' })
  expect((await runCli(['plan', dense, '--kv-type', 'q8_0'])).stdout).toContain('(KV q8_0)')
  expect(await json('doctor', '-o', 'json')).toMatchObject({ kvTypes: ['f16', 'q8_0'] })
  expect((await runCli(['doctor'])).stdout).toMatch(/^KV cache +f16 or q8_0/m)
})
