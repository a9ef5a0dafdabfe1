// What could break: a generated model is no valid file, has the wrong shapes, or differs between two runs, so that a
// reference hash means nothing. How we notice: the parser opens every family and type, hashes are compared, the command
// is run as users run it.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { openGguf } from '../ts/gguf/parse.js'
import { byteVocabulary } from './byte-vocabulary.js'
import { makeModel, partPath } from './make-model.js'
import { architectures, quants } from './model-shape.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-make-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const out = join(folder, 'model.gguf')
const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

describe('determinism', () => {
  test.each(['tiny-dense', 'tiny-moe'] as const)('%s: same seed, same bytes; another seed, others', async (preset) => {
    await makeModel({ preset, out })
    const first = hash(out)
    await makeModel({ preset, out })
    expect(hash(out)).toBe(first)
    await makeModel({ preset, out, seed: 2 })
    expect(hash(out)).not.toBe(first)
  })
})

describe('shapes', () => {
  test.each(architectures)('%s', async (arch) => {
    await makeModel({ arch, out })
    const { metadata, tensors } = await openGguf(out)
    const family = arch === 'mixtral' ? 'llama' : arch
    expect(metadata.string('general.architecture')).toBe(family)
    expect(metadata.integer(`${family}.block_count`)).toBe(2)
    const mixture = ['mixtral', 'qwen3moe', 'olmoe'].includes(arch)
    expect(tensors.has('blk.1.ffn_gate_exps.weight')).toBe(mixture)
    expect(tensors.has('blk.1.ffn_gate.weight')).toBe(!mixture)
    expect(tensors.has('blk.0.attn_q.bias')).toBe(arch === 'qwen2')
    expect(tensors.get('blk.0.attn_k_norm.weight')?.dims).toEqual(arch.startsWith('qwen3') ? [16] : arch === 'olmoe' ? [64] : undefined)
    if (mixture) expect(tensors.get('blk.0.ffn_down_exps.weight')?.dims).toEqual([64, 64, 8])
  })

  test('given values take the place of the preset\'s, derived ones follow', async () => {
    await makeModel({ preset: 'tiny-dense', width: 96, heads: 6, layers: 1, vocab: 300, out })
    const { tensors } = await openGguf(out)
    expect(tensors.get('blk.0.attn_k.weight')?.dims).toEqual([96, 96])
    expect(tensors.get('output.weight')?.dims).toEqual([96, 300])
    expect(tensors.has('blk.1.attn_norm.weight')).toBe(false)
  })

  test('tied models have no head of their own', async () => {
    await makeModel({ tied: true, out })
    expect((await openGguf(out)).tensors.has('output.weight')).toBe(false)
  })

  test.each(['linear', 'yarn', 'llama3'] as const)('RoPE scaling %s', async (ropeScaling) => {
    await makeModel({ ropeScaling, ropeFactor: 4, ropeBase: 500_000, out })
    const model = await openGguf(out)
    expect(model.metadata.float('llama.rope.freq_base')).toBe(500_000)
    expect(model.metadata.string('llama.rope.scaling.type')).toBe(ropeScaling === 'llama3' ? undefined : ropeScaling)
    expect(model.tensors.has('rope_freqs.weight')).toBe(ropeScaling === 'llama3')
    if (ropeScaling !== 'llama3') return
    const factors = new Float32Array((await model.readTensor('rope_freqs.weight')).buffer)
    expect([factors.length, factors[0], factors.at(-1)]).toEqual([8, 1, 4])
    expect([...factors]).toEqual([...factors].sort((a, b) => a - b))
  })

  test.each([{ heads: 3 }, { kvHeads: 3 }, { headDim: 15 }, { vocab: 256 }, { layers: 0 }, { arch: 'qwen3' as const, experts: 4 }, { arch: 'olmoe' as const, kvHeads: 2 }, { experts: 4, expertsUsed: 5 }, { split: 0 }])('%j is refused', async (options) => {
    await expect(makeModel({ ...options, out })).rejects.toMatchObject({ code: 'ERR_HYPURA_USAGE' })
  })
})

describe('types', () => {
  const typeOf = async (name: string): Promise<string | undefined> => (await openGguf(out)).tensors.get(name)?.typeName

  test.each(quants.filter((quant) => !quant.endsWith('_m')))('%s where rows are multiples of 256', async (quant) => {
    await makeModel({ width: 256, ff: 512, layers: 1, quant, out })
    expect([await typeOf('blk.0.ffn_down.weight'), await typeOf('token_embd.weight')]).toEqual([quant.toUpperCase(), quant.toUpperCase()])
    expect(await typeOf('blk.0.ffn_norm.weight')).toBe('F32')
  })

  test('q4_k_m: the head and some of attn_v and ffn_down have more bits', async () => {
    await makeModel({ width: 256, ff: 256, layers: 8, quant: 'q4_k_m', out })
    const types = await Promise.all(Array.from({ length: 8 }, (_, layer) => typeOf(`blk.${layer}.attn_v.weight`)))
    expect(types).toEqual(['Q6_K', 'Q4_K', 'Q4_K', 'Q6_K', 'Q4_K', 'Q4_K', 'Q6_K', 'Q6_K'])
    expect([await typeOf('output.weight'), await typeOf('token_embd.weight'), await typeOf('blk.1.attn_q.weight')]).toEqual(['Q6_K', 'Q4_K', 'Q4_K'])
    await makeModel({ width: 256, ff: 256, layers: 1, quant: 'q4_k_m', tied: true, out })
    expect(await typeOf('token_embd.weight')).toBe('Q6_K')
  })

  test('rows that do not fit fall back to blocks of 32, then to F16', async () => {
    await makeModel({ width: 64, quant: 'q4_k', layers: 1, ff: 136, out })
    expect([await typeOf('blk.0.attn_q.weight'), await typeOf('blk.0.ffn_down.weight')]).toEqual(['Q5_0', 'F16'])
  })
})

test('parts of a split model hold the same tensors', async () => {
  await makeModel({ preset: 'tiny-moe', out })
  await makeModel({ preset: 'tiny-moe', split: 3, out })
  const [whole, split] = [await openGguf(out), await openGguf(partPath(out, 1, 3))]
  expect(split.files.length).toBe(3)
  expect([...split.tensors.keys()]).toEqual([...whole.tensors.keys()])
  for (const name of whole.tensors.keys()) expect(await split.readTensor(name)).toEqual(await whole.readTensor(name))
})

test.each([257, 300, 512, 32_000])('a vocabulary of %i: all bytes, unique, merges lead to tokens', (size) => {
  const { tokens, types, merges } = byteVocabulary(size)
  expect([tokens.length, types.length, new Set(tokens).size]).toEqual([size, size, size])
  if (size >= 512) expect(merges.length).toBeGreaterThan(100)
  const ids = new Map(tokens.map((token, id) => [token, id]))
  for (const [rank, merge] of merges.entries()) expect(ids.get(merge.replace(' ', ''))).toBe(257 + rank)
})

test('the command writes what the function writes, and refuses with code 2', async () => {
  const script = fileURLToPath(new URL('./make-model.js', import.meta.url))
  const byCommand = join(folder, 'command.gguf')
  execFileSync(process.execPath, [script, '--preset', 'tiny-moe', '--experts', '4', '--seed', '9', '--tied', byCommand], { stdio: 'pipe' })
  await makeModel({ preset: 'tiny-moe', experts: 4, seed: 9, tied: true, out })
  expect(hash(byCommand)).toBe(hash(out))
  const refused = spawnSync(process.execPath, [script, '--heads', '3', byCommand], { encoding: 'utf8' })
  expect(refused.status).toBe(2)
  expect(refused.stderr).toContain('ERR_HYPURA_USAGE')
})
