/**
 * Is a second process as quick from its first token on as it will be later?
 *
 *   node dist/bench/suites/warm-start.js [MODEL] [--early 20] [--prompts 6] [--out FILE]
 *
 * For a quarter, half and three quarters of the experts: processes tell tales and leave behind what they learnt; then, for each of some
 * other prompts of the same kind, a process that knows nothing and one that knows it generate. Prints the hit rate of the first tokens and
 * of those from the 100th to the 400th, which is called steady, as means over the prompts. Every run is a process of its own.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { checkoutRoot } from '../../scripts/tidy.js'
import { describeModel, loadModel, type LoadOptions } from '../../ts/engine/index.js'
import { memoryForSlots } from './pool-memory.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    early: { type: 'string', default: '20' }, prompts: { type: 'string', default: '6' }, out: { type: 'string' },
    memory: { type: 'string' }, prompt: { type: 'string' }, seed: { type: 'string', default: '1' },
  },
})
const path = positionals[0] ?? join(checkoutRoot, 'models/fable-moe-q8_0.gguf')
const early = Number(values.early)
const steady = { from: 100, to: 400 }
const learntFrom = ['Once upon a time there was a king who', 'In the middle of the forest stood a house', 'The youngest of the three brothers said', 'Long ago an old woman had a daughter']
const askedFor = [
  'There was once a poor miller', 'The princess looked out of the window and', 'When the winter came, the little bird', 'A fox met a wolf upon the road and said',
  'Far away across the sea there lived', 'The old man took up his lamp and went',
].slice(0, Number(values.prompts))
const options: LoadOptions = { contextLength: 512, elastic: false }

interface Run {
  /** Hit rate of the first tokens and of the later ones. */
  readonly early: number
  readonly steady: number
}

/** In a process of its own: generates, and says what was there. */
async function run(memory: number, prompt: string, seed: number): Promise<Run> {
  await using model = await loadModel(path, { ...options, memory })
  await using sequence = model.createSequence()
  const sampling = { temperature: 0.8, ignoreEndTokens: true }
  let before = model.stats()
  const hitRate = (): number => {
    const after = model.stats()
    const hits = after.hits - before.hits
    const misses = after.misses - before.misses
    before = after
    return hits / (hits + misses)
  }
  await sequence.generate(prompt, { ...sampling, seed, maxTokens: early })
  const first = hitRate()
  await sequence.generate([], { ...sampling, seed: seed + 1, maxTokens: steady.from - early })
  hitRate()
  await sequence.generate([], { ...sampling, seed: seed + 2, maxTokens: steady.to - steady.from })
  return { early: first, steady: hitRate() }
}

function inProcess(memory: number, prompt: string, seed: number, state: string): Run {
  const command = [fileURLToPath(import.meta.url), path, '--memory', String(memory), '--prompt', prompt, '--seed', String(seed), '--early', String(early)]
  return JSON.parse(execFileSync(process.execPath, command, { env: { ...process.env, HYPURA_STATE_DIR: state }, encoding: 'utf8' })) as Run
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0) / numbers.length

async function compare(share: number): Promise<object> {
  const { experts } = (await describeModel(path)).manifest
  const slots = Math.round(experts.count * share)
  const memory = await memoryForSlots(path, slots, options)
  const state = mkdtempSync(join(tmpdir(), 'hypura-warm-'))
  try {
    learntFrom.forEach((prompt, i) => inProcess(memory, prompt, 10 * i, state))
    // What the runs learn themselves is kept as well, as it would be.
    const knowing = askedFor.map((prompt, i) => inProcess(memory, prompt, 100 + 10 * i, state))
    const ignorant = askedFor.map((prompt, i) => inProcess(memory, prompt, 100 + 10 * i, 'off'))
    const of = (runs: readonly Run[], key: keyof Run): number => mean(runs.map((each) => each[key]))
    const result = {
      share, slots, memory_bytes: memory,
      knowing_early: of(knowing, 'early'), knowing_steady: of(knowing, 'steady'), ignorant_early: of(ignorant, 'early'), ignorant_steady: of(ignorant, 'steady'),
      early_of_steady: of(knowing, 'early') / of(knowing, 'steady'), runs: { knowing, ignorant },
    }
    const percent = (rate: number): string => `${(rate * 100).toFixed(1)} %`
    process.stdout.write(
      `${percent(share)} of the experts in memory: first ${early} tokens ${percent(result.knowing_early)} hits, steady ${percent(result.knowing_steady)}: ${percent(result.early_of_steady)} of it; ` +
      `without what was learnt ${percent(result.ignorant_early)} and ${percent(result.ignorant_steady)}\n`,
    )
    return result
  } finally {
    rmSync(state, { recursive: true })
  }
}

if (values.prompt !== undefined) {
  process.stdout.write(JSON.stringify(await run(Number(values.memory), values.prompt, Number(values.seed))))
} else {
  const results = []
  for (const share of [0.25, 0.5, 0.75]) results.push(await compare(share))
  const record = { schema: 2, suite: 'warm-start', date: new Date().toISOString(), model: basename(path), early, steady, results }
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
}
