/**
 * Whose guesses of the next layer's experts save time: nobody's, the router's, a predictor's, or those that the trials choose?
 *
 *   node dist/bench/suites/whose-guesses.js MODEL [--shares 25,50,75] [--rounds 3] [--warmup 300] [--tokens 200] [--out FILE]
 *
 * Each run is a process of its own that knows nothing of earlier ones: it tells tales of at most 500 tokens, untimed for `warmup` tokens, then timed. Runs of the
 * sources are made in turn, so that the machine's moods meet all of them. `--shares` is of the experts that fit into memory, in percent;
 * without it the budget is 'auto', for a control group (scripts/with-memory-limit). Prints medians and every single run.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from '../../src/bench/statistics.js'
import { describeModel, loadModel, type LoadOptions, type Size } from '../../ts/engine/index.js'
import { memoryForSlots } from './pool-memory.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    shares: { type: 'string' }, rounds: { type: 'string', default: '3' }, warmup: { type: 'string', default: '300' }, tokens: { type: 'string', default: '200' },
    out: { type: 'string' }, memory: { type: 'string' }, arm: { type: 'string' }, seed: { type: 'string', default: '1' },
  },
})
const path = positionals[0]
if (path === undefined) throw new Error('give a model')
const [rounds, warmup, tokens] = [Number(values.rounds), Number(values.warmup), Number(values.tokens)]
const taleTokens = 500
const options: LoadOptions = { contextLength: taleTokens + 32, elastic: false }
const beginnings = ['Once upon a time there was a king who', 'In the middle of the forest stood a house', 'The youngest of the three brothers said', 'Long ago an old woman had a daughter']

const arms: Readonly<Record<string, Pick<LoadOptions, 'guess' | 'guessSource'>>> = {
  off: { guess: 'off' },
  router: { guess: 'prefetch', guessSource: 'router' },
  'co-activation': { guess: 'prefetch', guessSource: 'co-activation' },
  auto: { guess: 'auto' },
}

interface Run {
  readonly tokens_per_second: number
  readonly stall_ms_per_token: number
  readonly read_ahead_mb_per_token: number
  readonly used_mb_per_token: number
  /** What the trials came to by the end; null but for `auto`. */
  readonly decided: string | null
  readonly scores: Readonly<Record<string, number>>
}

/** In a process of its own. */
async function run(memory: Size, arm: string, seed: number): Promise<Run> {
  await using model = await loadModel(path!, { ...options, ...arms[arm], memory })
  await using sequence = model.createSequence()
  let tales = 0
  const tell = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= taleTokens) {
      sequence.truncate(0)
      await sequence.generate(beginnings[tales++ % beginnings.length]!, { temperature: 0.8, ignoreEndTokens: true, seed: seed + tales, maxTokens: Math.min(left, taleTokens) })
    }
  }
  await tell(warmup)
  const before = model.stats()
  const began = performance.now()
  await tell(tokens)
  const seconds = (performance.now() - began) / 1000
  const after = model.stats()
  const guesses = model.guesses
  return {
    tokens_per_second: tokens / seconds, stall_ms_per_token: (after.stallNs - before.stallNs) / 1e6 / tokens,
    read_ahead_mb_per_token: (after.guessReadBytes - before.guessReadBytes) / 1e6 / tokens, used_mb_per_token: (after.guessUsedBytes - before.guessUsedBytes) / 1e6 / tokens,
    decided: guesses?.decided ?? null,
    scores: Object.fromEntries((guesses?.scores ?? []).map(({ name, recallOfAbsent }) => [name, recallOfAbsent ?? 0])),
  }
}

function compare(memory: Size, share: number | undefined): object {
  const names = Object.keys(arms)
  const runs = new Map<string, Run[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // Each begins a round once in a while.
    for (const name of names.map((_, i) => names[(i + round) % names.length]!)) {
      const command = [fileURLToPath(import.meta.url), path!, '--memory', String(memory), '--arm', name, '--seed', String(1 + 100 * round), '--warmup', values.warmup, '--tokens', values.tokens]
      runs.get(name)!.push(JSON.parse(execFileSync(process.execPath, command, { env: { ...process.env, HYPURA_STATE_DIR: 'off' }, encoding: 'utf8' })) as Run)
    }
  }
  for (const [name, all] of runs) {
    const of = (key: 'tokens_per_second' | 'stall_ms_per_token' | 'read_ahead_mb_per_token' | 'used_mb_per_token'): string => median(all.map((one) => one[key])).toPrecision(3)
    process.stdout.write(`${share === undefined ? 'auto' : `${share} %`}  ${name.padEnd(14)} ${of('tokens_per_second')} tok/s (${all.map((one) => one.tokens_per_second.toPrecision(3)).join(', ')}), stall ${of('stall_ms_per_token')} ms, ` +
      `read ahead ${of('read_ahead_mb_per_token')} MB, of use ${of('used_mb_per_token')}${name === 'auto' ? `; came to ${all.map(({ decided }) => decided ?? 'nothing yet').join(', ')}` : ''}\n`)
  }
  const { scores } = runs.get('auto')!.at(-1)!
  process.stdout.write(`   of what had to be read, named by ${Object.entries(scores).map(([name, recall]) => `${name} ${(recall * 100).toFixed(0)} %`).join(', ')}\n`)
  return { share: share ?? null, memory, runs: Object.fromEntries(runs) }
}

if (values.arm !== undefined) {
  const memory = values.memory === 'auto' ? 'auto' : Number(values.memory)
  process.stdout.write(JSON.stringify(await run(memory, values.arm, Number(values.seed))))
} else {
  const results = []
  if (values.shares === undefined) {
    results.push(compare('auto', undefined))
  } else {
    const { experts } = (await describeModel(path)).manifest
    for (const share of values.shares.split(',').map(Number)) results.push(compare(await memoryForSlots(path, Math.round((experts.count * share) / 100), options), share))
  }
  const record = { schema: 1, suite: 'whose-guesses', date: new Date().toISOString(), model: basename(path), warmup, tokens, results }
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
}
