/**
 * What the cache costs when everything is in memory: mode 'resident' against 'bare', the same kernels over fixed addresses.
 *
 *   node dist/bench/suites/cache-cost.js MODEL [--pairs 9] [--tokens 32] [--out FILE]
 *
 * Both models are loaded once and generate in turn, the order swapped with every pair, so that a machine that drifts slows both.
 * Prints the ratio bare / resident of the medians and of each pair; a ratio above 1 is what the cache costs. The texts must agree.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { loadModel, type Model, systemInfo } from '../../ts/engine/index.js'
import { median } from '../statistics.js'

interface Run {
  readonly tokensPerSecond: number
  readonly tokens: readonly number[]
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { pairs: { type: 'string', default: '9' }, tokens: { type: 'string', default: '32' }, out: { type: 'string' } },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: cache-cost.js MODEL [--pairs N] [--tokens N] [--out FILE]')
const pairs = Number(values.pairs)
const maxTokens = Number(values.tokens)
const prompt = [1, 2, 3, 4]

async function decode(model: Model): Promise<Run> {
  await using sequence = model.createSequence()
  const { timings, tokens } = await sequence.generate(prompt, { maxTokens, temperature: 0, seed: 1, ignoreEndTokens: true })
  return { tokensPerSecond: timings.decodeTokensPerSecond, tokens }
}

const contextLength = prompt.length + maxTokens
await using resident = await loadModel(path, { mode: 'resident', elastic: false, contextLength })
await using bare = await loadModel(path, { mode: 'bare', contextLength })
for (const model of [resident, bare]) await decode(model) // warm
const speeds: Record<'resident' | 'bare', number[]> = { resident: [], bare: [] }
for (let pair = 0; pair < pairs; pair++) {
  const texts = new Set<string>()
  for (const [name, model] of pair % 2 === 0 ? [['resident', resident], ['bare', bare]] as const : [['bare', bare], ['resident', resident]] as const) {
    const run = await decode(model)
    speeds[name].push(run.tokensPerSecond)
    texts.add(run.tokens.join(' '))
  }
  if (texts.size !== 1) throw new Error('the two modes generated different tokens')
}
const ratios = speeds.bare.map((speed, i) => speed / speeds.resident[i]!)
const { hardware } = await systemInfo()
const record = {
  schema: 1,
  suite: 'cache-cost',
  date: new Date().toISOString(),
  model: basename(path),
  model_bytes: resident.plan.modelBytes,
  cpu: hardware.cpu.model,
  isa: resident.facts.isa,
  threads: resident.facts.threads,
  tokens: maxTokens,
  resident_tok_s: speeds.resident,
  bare_tok_s: speeds.bare,
  median_resident_tok_s: median(speeds.resident),
  median_bare_tok_s: median(speeds.bare),
  ratio_of_medians: median(speeds.bare) / median(speeds.resident),
  median_ratio_of_pairs: median(ratios),
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
process.stdout.write(
  `${record.model}: resident ${record.median_resident_tok_s.toFixed(2)} tok/s, bare ${record.median_bare_tok_s.toFixed(2)} tok/s, ` +
  `bare / resident ${record.ratio_of_medians.toFixed(4)} (pairs: median ${record.median_ratio_of_pairs.toFixed(4)}, ${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)})\n`,
)
