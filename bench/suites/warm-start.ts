/**
 * Is a second process as quick from its first token on as it will be later?
 *
 *   node dist/bench/suites/warm-start.js [MODEL] [--early 20] [--prompts 6] [--out FILE]
 *
 * For a quarter, half and three quarters of the experts: processes tell tales and leave behind what they learnt. Then three processes
 * answer each of some other prompts of the same kind: one that knows nothing, one that begins with what was learnt, and one that has told
 * the same tales itself just before, which is as warm as a process gets. Prints the hit rate of the first tokens behind the prompt, and of
 * those from the 100th to the 400th, which is called steady, as means over the prompts. Every run is a process of its own.
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
    memory: { type: 'string' }, prompt: { type: 'string' }, seed: { type: 'string', default: '1' }, tales: { type: 'boolean', default: false },
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
  const sampling = { temperature: 0.8, ignoreEndTokens: true }
  for (const [i, tale] of (values.tales ? learntFrom : []).entries()) {
    await using sequence = model.createSequence()
    await sequence.generate(tale, { ...sampling, seed: 10 * i, maxTokens: steady.to })
  }
  await using sequence = model.createSequence()
  await sequence.generate(prompt, { ...sampling, seed, maxTokens: 1 })
  let before = model.stats()
  const hitRate = (): number => {
    const after = model.stats()
    const hits = after.hits - before.hits
    const misses = after.misses - before.misses
    before = after
    return hits / (hits + misses)
  }
  await sequence.generate([], { ...sampling, seed: seed + 3, maxTokens: early })
  const first = hitRate()
  await sequence.generate([], { ...sampling, seed: seed + 1, maxTokens: steady.from - early })
  hitRate()
  await sequence.generate([], { ...sampling, seed: seed + 2, maxTokens: steady.to - steady.from })
  return { early: first, steady: hitRate() }
}

function inProcess(memory: number, prompt: string, seed: number, state: string, ...flags: string[]): Run {
  const command = [fileURLToPath(import.meta.url), path, '--memory', String(memory), '--prompt', prompt, '--seed', String(seed), '--early', String(early), ...flags]
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
    // Each leaves behind what it learns itself, as it would anywhere.
    const runs = {
      knowing: askedFor.map((prompt, i) => inProcess(memory, prompt, 100 + 10 * i, state)),
      ignorant: askedFor.map((prompt, i) => inProcess(memory, prompt, 100 + 10 * i, 'off')),
      running: askedFor.map((prompt, i) => inProcess(memory, prompt, 100 + 10 * i, 'off', '--tales')),
    }
    const means = Object.fromEntries(Object.entries(runs).map(([who, all]) => [who, { early: mean(all.map((each) => each.early)), steady: mean(all.map((each) => each.steady)) }])) as Record<keyof typeof runs, Run>
    const { knowing, ignorant, running } = means
    const result = { share, slots, memory_bytes: memory, means, early_of_steady: knowing.early / knowing.steady, early_of_running: knowing.early / running.early, runs }
    const percent = (rate: number): string => `${(rate * 100).toFixed(1)} %`
    process.stdout.write(
      `${percent(share)} of the experts in memory, first ${early} tokens: ${percent(knowing.early)} hits, steady ${percent(knowing.steady)}: ${percent(result.early_of_steady)} of it; ` +
      `a process that has run long ${percent(running.early)}: ${percent(result.early_of_running)} of it; without what was learnt ${percent(ignorant.early)}\n`,
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
