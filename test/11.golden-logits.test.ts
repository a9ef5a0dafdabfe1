// What could break: a wrong rotation, a swapped norm, a gating rule: the text still looks like text, but it is another model.
// How we notice: llama.cpp's recorded log-probabilities on the shipped models. Ours may differ by the rounding of quantised
// activations only (docs/decisions/0003-parity-with-llama-cpp.md).
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { describeModel, loadModel } from '../ts/engine/index.js'
import { logSoftmax, top } from './support/compare-logits.js'
import { type Golden, goldenPath, windowOf } from './support/golden.js'
import { modelPath } from './support/run-cli.js'

const golden = JSON.parse(readFileSync(goldenPath, 'utf8')) as Golden

describe(`against ${golden.provenance}`, () => {
  test('every shipped model was recorded', () => expect(golden.models.length).toBe(9))

  test.each(golden.models)('$name', async ({ name, positions }) => {
    const path = modelPath(name)
    const { spec } = await describeModel(path)
    const tokens = await windowOf(path)
    await using model = await loadModel(path, { memory: '2GiB', contextLength: tokens.length, logitsRows: 32 })
    await using sequence = model.createSequence()
    const rows: Float32Array[] = []
    await sequence.evaluate(tokens, (logits, _, count) => {
      for (let i = 0; i < count; i++) rows.push(logits.slice(i * spec.nVocab, (i + 1) * spec.nVocab))
    })
    // F16 weights leave nothing to quantise.
    const tolerance = name.includes('f16') ? 0.005 : 0.08
    let beyond = 0
    for (const { position, top: expected } of positions) {
      const ours = logSoftmax(rows[position]!)
      const worst = Math.max(...expected.map(([token, logProbability]) => Math.abs(ours[token]! - logProbability)))
      if (worst > tolerance) beyond++
      expect(worst, `position ${position}`).toBeLessThan(1)
      const [[first, best], [, second]] = expected as [[number, number], [number, number]]
      if (best - second > 0.5) expect(top(rows[position]!), `position ${position}`).toBe(first)
    }
    // A router may choose another expert where two are nearly equal: a few positions of a mixture may differ by more.
    expect(beyond).toBeLessThanOrEqual(name.includes('moe') ? positions.length / 4 : 0)
  })
})
