/**
 * Do tokens keep coming while the event loop of the host does nothing?
 *
 *   node dist/bench/suites/blocked-host.js MODEL [--memory SIZE] [--seconds 10] [--rounds 3] [--out FILE]
 *
 * One long answer, timed while the event loop turns and while it is blocked, in turn. Tokens are counted by the engine. A blocked
 * event loop hands the planner no events and the engine no plans, so this is also the case of a planner that never answers.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { median } from '../../src/bench/statistics.js'
import { loadModel, systemInfo } from '../../ts/engine/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { memory: { type: 'string', default: 'auto' }, seconds: { type: 'string', default: '10' }, rounds: { type: 'string', default: '3' }, out: { type: 'string' } },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: blocked-host.js MODEL [--memory SIZE] [--seconds N] [--rounds N] [--out FILE]')
const ms = Number(values.seconds) * 1000

const contextLength = 16_384
await using model = await loadModel(path, { memory: values.memory, elastic: false, contextLength })
await using sequence = model.createSequence()
const end = new AbortController()
const answer = sequence.generate([1, 2, 3], { temperature: 0, ignoreEndTokens: true, pendingTokensMax: 4096, signal: end.signal, stopOnAbortSignal: true })
const done = answer.then(({ reason }) => reason)

async function speed(wait: () => void | Promise<void>): Promise<number> {
  const before = model.stats().tokens
  const began = performance.now()
  await wait()
  return ((model.stats().tokens - before) / (performance.now() - began)) * 1e3
}
const block = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

await sleep(Math.min(ms, 3000))
const rounds: { readonly turning_tok_s: number; readonly blocked_tok_s: number }[] = []
for (let round = 0; round < Number(values.rounds); round++) {
  rounds.push({ turning_tok_s: await speed(() => sleep(ms)), blocked_tok_s: await speed(block) })
  await sleep(500) // what waited is delivered
}
end.abort()
const reason = await done
if (reason !== 'aborted') throw new Error(`the answer ended by itself (${reason}): fewer seconds or rounds are needed`)
const { hardware } = await systemInfo()
const ratio = median(rounds.map(({ turning_tok_s, blocked_tok_s }) => blocked_tok_s / turning_tok_s))
const record = {
  schema: 1, suite: 'blocked-host', date: new Date().toISOString(), model: basename(path), mode: model.plan.mode, budget_bytes: model.plan.budgetBytes, cpu: hardware.cpu.model,
  isa: model.facts.isa, threads: model.facts.threads, seconds: ms / 1000, rounds, ratio,
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
const of = (key: keyof (typeof rounds)[number]): string => median(rounds.map((round) => round[key])).toFixed(1)
process.stdout.write(`${record.model}, ${record.mode}: ${of('turning_tok_s')} tok/s while the event loop turns, ${of('blocked_tok_s')} while it is blocked for ${values.seconds} s (${(ratio * 100).toFixed(0)} %)\n`)
