/**
 * Routing against which no cache helps: what does a pool of experts cost there?
 *
 *   node dist/bench/suites/adversarial-routing.js MODEL [--tokens 48] [--rounds 5] [--cycle 4] [--out FILE]
 *
 * Every token is evaluated alone at position 0, so its experts depend on the token only, and a list of tokens is a list of routes:
 *   cycle    a few tokens in turn; the pool has one slot less than they use experts, the worst there is for recency
 *   random   tokens drawn uniformly, the same pool
 *   clients  two sequences in turn, each with a cycle of its own; the pool has one slot less than both use
 * "No cache" is the same model with a pool of two layers' choices and no guesses: it reads every expert of every token. Rounds of both
 * alternate. Prints speed with the pool over speed without, and the share of the bytes read that was speculation in vain.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { RandomWords } from '../../scripts/random-numbers.js'
import { median } from '../../src/bench/statistics.js'
import { describeModel, loadModel, type LoadOptions, type Model, readTrace, type Sequence, systemInfo } from '../../ts/engine/index.js'
import { memoryForSlots } from './pool-memory.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tokens: { type: 'string', default: '48' }, rounds: { type: 'string', default: '5' }, cycle: { type: 'string', default: '4' }, out: { type: 'string' },
  },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: adversarial-routing.js MODEL [--tokens N] [--rounds N] [--cycle N] [--out FILE]')
const nTokens = Number(values.tokens)
const rounds = Number(values.rounds)
const cycle = Number(values.cycle)
const options: LoadOptions = { contextLength: 64, sequencesMax: 2, elastic: false }
// What earlier runs learnt would be of other routes.
process.env['HYPURA_STATE_DIR'] = 'off'

/** The i-th token, and the sequence that evaluates it. */
type Pattern = (i: number) => { readonly sequence: number; readonly token: number }
const words = new RandomWords(7, 'adversarial')
const drawn = Array.from({ length: 4096 }, () => words.integer(1, 1000))
const patterns = {
  cycle: (i) => ({ sequence: 0, token: 100 + (i % cycle) }),
  random: (i) => ({ sequence: 0, token: drawn[i % drawn.length]! }),
  clients: (i) => ({ sequence: i % 2, token: 200 + 100 * (i % 2) + (Math.floor(i / 2) % Math.ceil(cycle / 2)) }),
} satisfies Record<string, Pattern>

interface Contender {
  readonly model: Model
  readonly sequences: readonly Sequence[]
}

async function contender(memory: number, guess: 'auto' | 'off'): Promise<Contender> {
  const model = await loadModel(path!, { ...options, memory, guess })
  return { model, sequences: [model.createSequence(), model.createSequence()] }
}

async function evaluate({ sequences }: Contender, pattern: Pattern, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    const { sequence, token } = pattern(i)
    sequences[sequence]!.truncate(0)
    await sequences[sequence]!.evaluate([token])
  }
}

async function end({ model, sequences }: Contender): Promise<void> {
  for (const sequence of sequences) await sequence.close()
  await model.close()
}

/** Experts that `count` tokens of a pattern choose, each counted once. */
async function expertsOf(small: Contender, pattern: Pattern, count: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-adversarial-'))
  try {
    const bytes: Uint8Array[] = []
    const recording = await small.model.recordRoutes((part) => void bytes.push(part.slice()))
    await evaluate(small, pattern, 0, count)
    recording.end()
    writeFileSync(join(folder, 'routes.trace'), Buffer.concat(bytes))
    const trace = await readTrace(join(folder, 'routes.trace'))
    const seen = new Set<number>()
    const { nLayer, nLayerDenseLead } = trace.model
    for (let sweep = 0; sweep < trace.sweeps; sweep++)
      for (let layer = 0; layer < nLayer - nLayerDenseLead; layer++)
        for (const expert of trace.experts(sweep, layer)) seen.add(layer * 65_536 + expert)
    return seen.size
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const { nExpertUsed: perLayer } = (await describeModel(path)).manifest.spec
if (perLayer === 0) throw new Error(`${path} is no mixture: it has no experts to choose`)
const without = await contender(await memoryForSlots(path, 2 * perLayer, options), 'off')
const results = []
for (const [name, pattern] of Object.entries(patterns)) {
  const slots = (await expertsOf(without, name === 'random' ? patterns.cycle : pattern, cycle)) - 1
  const memory = await memoryForSlots(path, slots, options)
  const pooled = await contender(memory, 'auto')
  for (const each of [pooled, without]) await evaluate(each, pattern, 0, nTokens)
  const before = pooled.model.stats()
  const pairs: { readonly pooled: number; readonly without: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const seconds = { pooled: 0, without: 0 }
    const order = [['pooled', pooled], ['without', without]] as const
    for (const [which, each] of round % 2 === 0 ? order : order.toReversed()) {
      const began = performance.now()
      await evaluate(each, pattern, nTokens * (round + 1), nTokens)
      seconds[which] = (performance.now() - began) / 1e3
    }
    pairs.push({ pooled: nTokens / seconds.pooled, without: nTokens / seconds.without })
  }
  const after = pooled.model.stats()
  const rise = (key: keyof typeof after): number => after[key] - before[key]
  results.push({
    pattern: name, slots, memory_bytes: memory,
    pooled_tok_s: pairs.map((pair) => pair.pooled), without_tok_s: pairs.map((pair) => pair.without),
    median_ratio: median(pairs.map((pair) => pair.pooled / pair.without)),
    hit_rate: rise('hits') / (rise('hits') + rise('misses')),
    read_bytes: rise('readBytes'), guess_read_bytes: rise('guessReadBytes'), guess_used_bytes: rise('guessUsedBytes'),
    // Read, and neither asked for nor guessed rightly: guesses in vain and warmed experts.
    in_vain_share: 1 - rise('missBytes') / rise('readBytes'),
  })
  await end(pooled)
}
await end(without)

const { hardware } = await systemInfo()
const record = {
  schema: 2, suite: 'adversarial-routing', date: new Date().toISOString(), model: basename(path), cpu: hardware.cpu.model,
  tokens: nTokens, cycle, no_cache_slots: 2 * perLayer, results,
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
for (const { pattern, slots, median_ratio, pooled_tok_s, without_tok_s, hit_rate, in_vain_share } of results)
  process.stdout.write(
    `${pattern.padEnd(8)} ${slots} slots: ${median(pooled_tok_s).toFixed(1)} tok/s, without a pool ${median(without_tok_s).toFixed(1)}: ${median_ratio.toFixed(2)} times; ` +
    `${(hit_rate * 100).toFixed(1)} % hits, ${(in_vain_share * 100).toFixed(1)} % of the bytes in vain\n`,
  )
