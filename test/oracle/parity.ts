/**
 * `npm run parity`: our logits against llama.cpp's, same file, teacher-forced; prints one JSON row per model and fails when
 * a bar is missed.
 *
 * Trained models: mean KL divergence <= 1e-4 and the same top-1 on >= 99.5 % of >= 2,000 positions. Generated ones (random
 * weights, near-ties everywhere): NMSE of the logits <= 1e-5. `self` stands beside it for scale and excuses nothing: how far
 * llama.cpp is from itself when it evaluates the first windows one position at a time
 * (docs/decisions/0003-parity-with-llama-cpp.md).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeModel } from '../../scripts/make-model.js'
import { checkoutRoot } from '../../scripts/tidy.js'
import { describeModel, loadModel } from '../../ts/engine/index.js'
import { type Agreement, AgreementMeter } from '../support/compare-logits.js'
import { testTokens } from '../support/logits-hash.js'
import { openOracle, oracleLogits } from './llama-cpp.js'

const windowTokens = 256
const trainedPositions = 2048
const generatedPositions = 64
/** Windows that llama.cpp evaluates a second time, one position after the other: slow. */
const selfWindows = 2

export interface ParityRow extends Agreement {
  readonly model: string
  /** llama.cpp in batches against llama.cpp one by one. */
  readonly self: Agreement
  /** The bar is met. */
  readonly ok: boolean
}

/** Windows of the tale, cut at `windowTokens`, each beginning with the model's begin token. */
export async function taleWindows(path: string, positions: number): Promise<number[][]> {
  const tokenizer = (await describeModel(path)).tokenizer()
  const tokens = [...tokenizer.encode(readFileSync(join(checkoutRoot, 'test/golden/tale.txt'), 'utf8'))]
  const windows: number[][] = []
  for (let at = 0; at < tokens.length && windows.length * windowTokens < positions; at += windowTokens - 1) {
    windows.push([...(tokenizer.bos === undefined ? [] : [tokenizer.bos]), ...tokens.slice(at, at + windowTokens - 1)])
  }
  return windows
}

/** Ours and llama.cpp's one-by-one run, each against llama.cpp's run in batches. */
export async function compare(path: string, windows: readonly (readonly number[])[]): Promise<{ ours: Agreement; self: Agreement }> {
  const { spec } = await describeModel(path)
  const ours = new AgreementMeter()
  const self = new AgreementMeter()
  const llama = await openOracle()
  await using model = await loadModel(path, { memory: '8GiB', contextLength: windowTokens, logitsRows: 32 })
  await using sequence = model.createSequence()
  const oneByOne = oracleLogits(llama, path, windows.slice(0, selfWindows), spec.nVocab, 1)
  let index = 0
  for await (const reference of oracleLogits(llama, path, windows, spec.nVocab)) {
    const single = await oneByOne.next()
    if (single.done !== true) reference.forEach((row, i) => self.add(row, single.value[i]!))
    sequence.truncate(0)
    await sequence.evaluate(windows[index++]!, (rows, first, count) => {
      for (let i = 0; i < count; i++) ours.add(reference[first + i]!, rows.subarray(i * spec.nVocab, (i + 1) * spec.nVocab))
    })
  }
  return { ours: ours.result(), self: self.result() }
}

function verdict(model: string, { ours, self }: { ours: Agreement; self: Agreement }, ok: boolean): ParityRow {
  const row = { model, ...ours, self, ok }
  console.log(JSON.stringify(row))
  return row
}

async function trained(): Promise<ParityRow[]> {
  const rows: ParityRow[] = []
  for (const name of readdirSync(join(checkoutRoot, 'models')).filter((file) => file.endsWith('.gguf'))) {
    const path = join(checkoutRoot, 'models', name)
    const result = await compare(path, await taleWindows(path, trainedPositions))
    const { positions, meanKl, sameTop } = result.ours
    rows.push(verdict(name, result, positions >= 2000 && meanKl <= 1e-4 && sameTop >= 0.995))
  }
  return rows
}

/** Families and tensor types that no shipped model has. */
const generated = [
  ...(['llama', 'qwen2', 'qwen3', 'qwen3moe', 'olmoe'] as const).map((arch) => ({ arch, quant: 'q8_0' as const })),
  ...(['f32', 'f16', 'bf16', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k'] as const).map((quant) => ({ arch: 'llama' as const, quant })),
] as const

async function random(): Promise<ParityRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-parity-'))
  const rows: ParityRow[] = []
  try {
    for (const { arch, quant } of generated) {
      const path = join(folder, `${arch}-${quant}.gguf`)
      const isMixture = arch === 'qwen3moe' || arch === 'olmoe'
      await makeModel({ arch, quant, out: path, seed: 3, layers: 2, width: 512, heads: 8, kvHeads: arch === 'olmoe' ? 8 : 4, ff: 1024, vocab: 1024, context: 512, ...(isMixture ? { experts: 8, expertsUsed: 2, expertFf: 512 } : {}) })
      const { spec } = await describeModel(path)
      const result = await compare(path, [testTokens(spec.nVocab, generatedPositions)])
      rows.push(verdict(`${arch} ${quant} (generated)`, result, result.ours.nmse <= 1e-5))
      rmSync(path)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return rows
}

const rows = [...(process.argv.includes('--generated') ? [] : await trained()), ...(process.argv.includes('--trained') ? [] : await random())]
const missed = rows.filter(({ ok }) => !ok).map(({ model }) => model)
console.log(`parity: ${rows.length - missed.length} of ${rows.length} models within the bar${missed.length === 0 ? '' : `; missed by ${missed.join(', ')}`}`)
process.exit(missed.length === 0 ? 0 : 1)
