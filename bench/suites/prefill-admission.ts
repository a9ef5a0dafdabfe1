/**
 * How prompts should enter the pool of experts: the three admissions of a plan, over conversations that follow each other.
 *
 *   node dist/bench/suites/prefill-admission.js [tuned-on|held-out] [--answer 100] [--model FILE]
 *
 * Parts of the texts beside the traces are given as prompts in sweeps of 64, each in a fresh sequence and answered in so many tokens; what the
 * router chose is recorded and replayed. Hits are of all requests, prompts too; the stall is that of a generated token.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkoutRoot } from '../../scripts/tidy.js'
import { assumedDrive, loadModel, readTrace, simulate } from '../../ts/engine/index.js'

const { positionals: [set = 'held-out'], values } = parseArgs({
  allowPositionals: true,
  options: { answer: { type: 'string', default: '100' }, model: { type: 'string', default: join(checkoutRoot, 'models/fable-moe-q8_0.gguf') } },
})
const rounds = 3
const promptCharacters = 1200
const admissions = ['normal', 'keepHits', 'bypass'] as const
const shares = [0.25, 0.5, 0.75]

async function recordConversations(): Promise<Buffer> {
  const folder = join(checkoutRoot, 'test/traces', set)
  const texts = readdirSync(folder).filter((name) => name.endsWith('.txt')).sort().map((name) => readFileSync(join(folder, name), 'utf8'))
  await using model = await loadModel(values.model, { contextLength: 1024, batchSize: 64, elastic: false })
  const parts: Uint8Array[] = []
  const recording = await model.recordRoutes((part) => void parts.push(part.slice()))
  for (let round = 0; round < rounds; round++) {
    for (const text of texts) {
      await using sequence = model.createSequence()
      const begin = (round * promptCharacters) / 4
      await sequence.generate(text.slice(begin, begin + promptCharacters), { maxTokens: Number(values.answer), ignoreEndTokens: true, seed: round })
    }
  }
  recording.end()
  return Buffer.concat(parts)
}

const scratch = mkdtempSync(join(tmpdir(), 'hypura-admission-'))
try {
  const path = join(scratch, 'conversations.trace')
  writeFileSync(path, await recordConversations())
  const trace = await readTrace(path)
  for (const admission of admissions) {
    const { budgets, prefillSweeps, tokens } = simulate(trace, { memory: shares.map((share) => ({ kind: 'share', share })), drive: assumedDrive, planEvery: 4, predictors: [], admission })
    const cells = budgets.map(({ policies: [shipped] }) => `${(shipped!.hitRate * 100).toFixed(1)} %, ${(shipped!.stallSecondsPerToken * 1e3).toFixed(3)} ms`)
    if (admission === admissions[0]) process.stdout.write(`${set}: ${prefillSweeps} sweeps of prompts, ${tokens} tokens\n| admission | ${shares.map((share) => `${share * 100} % of the experts`).join(' | ')} |\n`)
    process.stdout.write(`| ${admission} | ${cells.join(' | ')} |\n`)
  }
} finally {
  rmSync(scratch, { recursive: true })
}
