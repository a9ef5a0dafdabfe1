/**
 * What the cache costs when everything is in memory: mode 'resident' against 'bare', the same kernels over fixed addresses.
 *
 *   node dist/bench/suites/cache-cost.js MODEL [--loads 4] [--pairs 5] [--tokens 32] [--out FILE]
 *
 * Both models generate in turn, the order swapped with every pair, so that a machine that drifts slows both. They are loaded
 * again and again, the order swapped as well: which memory an allocation gets from a virtual machine's host moves the speed of
 * either by some percent. Prints the median ratio bare / resident over all pairs, and that of each load; above 1 is what the
 * cache costs. The texts must agree.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { loadModel, type Model, systemInfo } from '../../ts/engine/index.js'
import { median } from '../../src/bench/statistics.js'

interface Run {
  readonly tokensPerSecond: number
  readonly tokens: readonly number[]
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    loads: { type: 'string', default: '4' }, pairs: { type: 'string', default: '5' }, tokens: { type: 'string', default: '32' }, out: { type: 'string' },
  },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: cache-cost.js MODEL [--loads N] [--pairs N] [--tokens N] [--out FILE]')
const pairs = Number(values.pairs)
const maxTokens = Number(values.tokens)
const prompt = [1, 2, 3, 4]
const contextLength = prompt.length + maxTokens
type Mode = 'resident' | 'bare'

async function decode(model: Model): Promise<Run> {
  await using sequence = model.createSequence()
  const { timings, tokens } = await sequence.generate(prompt, { maxTokens, temperature: 0, seed: 1, ignoreEndTokens: true })
  return { tokensPerSecond: timings.decodeTokensPerSecond, tokens }
}

interface Load {
  readonly first: Mode
  readonly speeds: Readonly<Record<Mode, number[]>>
}

/** Loads both, and lets them generate in turn. */
async function measureLoad(first: Mode): Promise<Load & Pick<Model, 'plan' | 'facts'>> {
  const other: Mode = first === 'bare' ? 'resident' : 'bare'
  await using a = await loadModel(path!, { mode: first, elastic: false, contextLength })
  await using b = await loadModel(path!, { mode: other, elastic: false, contextLength })
  const models = [[first, a], [other, b]] as const
  for (const [, model] of models) await decode(model) // warm
  const speeds: Record<Mode, number[]> = { resident: [], bare: [] }
  for (let pair = 0; pair < pairs; pair++) {
    const texts = new Set<string>()
    for (const [mode, model] of pair % 2 === 0 ? models : models.toReversed()) {
      const run = await decode(model)
      speeds[mode].push(run.tokensPerSecond)
      texts.add(run.tokens.join(' '))
    }
    if (texts.size !== 1) throw new Error('the two modes generated different tokens')
  }
  return { first, speeds, plan: a.plan, facts: a.facts }
}

const ratiosOf = ({ speeds }: Load): number[] => speeds.bare.map((speed, i) => speed / speeds.resident[i]!)
const loads: Awaited<ReturnType<typeof measureLoad>>[] = []
for (let load = 0; load < Number(values.loads); load++) loads.push(await measureLoad(load % 2 === 0 ? 'resident' : 'bare'))
const ratios = loads.flatMap(ratiosOf)
const ofLoads = loads.map((load) => median(ratiosOf(load)))
const resident = loads.flatMap(({ speeds }) => speeds.resident)
const bare = loads.flatMap(({ speeds }) => speeds.bare)
const { plan, facts } = loads[0]!
const { hardware } = await systemInfo()
const record = {
  schema: 2,
  suite: 'cache-cost',
  date: new Date().toISOString(),
  model: basename(path),
  model_bytes: plan.modelBytes,
  cpu: hardware.cpu.model,
  isa: facts.isa,
  threads: facts.threads,
  tokens: maxTokens,
  loads: loads.map(({ first, speeds }) => ({ first, resident_tok_s: speeds.resident, bare_tok_s: speeds.bare })),
  median_resident_tok_s: median(resident),
  median_bare_tok_s: median(bare),
  median_ratio_of_pairs: median(ratios),
  median_ratio_of_each_load: ofLoads,
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
process.stdout.write(
  `${record.model}: resident ${record.median_resident_tok_s.toFixed(2)} tok/s, bare ${record.median_bare_tok_s.toFixed(2)} tok/s, ` +
  `bare / resident ${record.median_ratio_of_pairs.toFixed(4)} over ${ratios.length} pairs (loads: ${ofLoads.map((ratio) => ratio.toFixed(3)).join(', ')})\n`,
)
