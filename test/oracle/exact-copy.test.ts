// What could break: a kernel and the formula of its format part, in a field that random weights hit as well as real ones.
// How we notice: the model written out as F32 by the formulas is the second implementation. Weights that are floats give the
// same bits; quantised ones differ by what rounding of activations costs, and a wrong scale or sign by far more.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { makeModel } from '../../scripts/make-model.js'
import { describeModel, loadModel } from '../../ts/engine/index.js'
import { AgreementMeter } from '../support/compare-logits.js'
import { testTokens } from '../support/logits-hash.js'
import { writeExactCopy } from './exact-copy.js'
import { weightValues } from './weight-values.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-exact-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function logits(path: string): Promise<Float32Array> {
  const { nVocab } = (await describeModel(path)).spec
  await using model = await loadModel(path, { memory: '1GiB', contextLength: 32, logitsRows: 32 })
  await using sequence = model.createSequence()
  const all = new Float32Array(32 * nVocab)
  await sequence.evaluate(testTokens(nVocab, 32), (rows, first) => all.set(rows, first * nVocab))
  return all
}

const quants = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs', 'mxfp4'] as const

test.each(quants)('a model of %s and its F32 copy are the same model', async (quant) => {
  const path = join(folder, `${quant}.gguf`)
  const copy = join(folder, `${quant}-exact.gguf`)
  await makeModel({ arch: 'llama', quant, out: path, seed: 5, layers: 1, width: 256, heads: 4, kvHeads: 2, ff: 256, vocab: 512, context: 64 })
  await writeExactCopy(path, copy)
  const [own, exact] = [await logits(path), await logits(copy)]
  const meter = new AgreementMeter()
  meter.add(exact, own)
  const { nmse } = meter.result()
  console.log(`${quant}: NMSE ${nmse.toExponential(1)}`)
  if (quant.endsWith('f32') || quant.endsWith('f16')) expect(Buffer.from(own.buffer).equals(Buffer.from(exact.buffer))).toBe(true)
  else expect(nmse).toBeGreaterThan(0)
  expect(nmse).toBeLessThan(1e-3)
})

test('a piece of a block and a type without a formula are refused', () => {
  expect(() => weightValues(8, new Uint8Array(33))).toThrow(RangeError)
  expect(() => weightValues(9, new Uint8Array(36))).toThrow(RangeError)
})
