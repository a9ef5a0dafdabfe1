/**
 * Records test/golden/llama-cpp.json: what llama.cpp says of the shipped models, so that `npm test` needs no llama.cpp.
 *
 *   npm run parity -- --record      or      node dist/test/oracle/record-golden.js
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutRoot } from '../../scripts/tidy.js'
import { describeModel } from '../../ts/engine/index.js'
import { logSoftmax } from '../support/compare-logits.js'
import { type Golden, type GoldenModel, goldenPath, windowOf } from '../support/golden.js'
import { openOracle, oracleLogits, oracleVersion } from './llama-cpp.js'

const topCount = 20
/** Every 16th position: enough to meet all of the window, few enough to read. */
const positionStep = 16

const llama = await openOracle()
const models: GoldenModel[] = []
for (const name of readdirSync(join(checkoutRoot, 'models')).filter((file) => file.endsWith('.gguf'))) {
  const path = join(checkoutRoot, 'models', name)
  const { spec } = await describeModel(path)
  const tokens = await windowOf(path)
  for await (const rows of oracleLogits(llama, path, [tokens], spec.nVocab)) {
    models.push({ name, positions: rows.flatMap((row, position) => (position % positionStep === positionStep - 1 ? [{ position, top: topOf(row) }] : [])) })
  }
}
const golden: Golden = {
  provenance: `llama.cpp's CPU build in node-llama-cpp ${oracleVersion}, one batch, default settings; node dist/test/oracle/record-golden.js`,
  models,
}
writeFileSync(goldenPath, `${JSON.stringify(golden, null, 1)}\n`)
console.log(`${goldenPath}: ${models.length} models`)
process.exit(0)

function topOf(row: Float32Array): [token: number, logProbability: number][] {
  const logs = logSoftmax(row)
  return [...logs.keys()].sort((a, b) => logs[b]! - logs[a]! || a - b).slice(0, topCount).map((token) => [token, Math.round(logs[token]! * 1e5) / 1e5])
}
