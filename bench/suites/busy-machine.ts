/**
 * How much of its speed decoding keeps beside other busy programs: one busy loop per core.
 *
 *   node dist/bench/suites/busy-machine.js MODEL [--rounds 5] [--tokens 60] [--loops N] [--out FILE]
 *
 * Rounds alone and beside the loops alternate. Half of the speed is a fair share where there are as many loops as threads.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { median } from '../../src/bench/statistics.js'
import { loadModel, systemInfo } from '../../ts/engine/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, tokens: { type: 'string', default: '60' }, loops: { type: 'string', default: String(availableParallelism()) }, out: { type: 'string' } },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: busy-machine.js MODEL [--rounds N] [--tokens N] [--loops N] [--out FILE]')
const maxTokens = Number(values.tokens)

await using model = await loadModel(path, { elastic: false, contextLength: maxTokens + 8 })
async function speed(): Promise<number> {
  await using sequence = model.createSequence()
  return (await sequence.generate([1, 2, 3], { maxTokens, temperature: 0, ignoreEndTokens: true })).timings.decodeTokensPerSecond
}

await speed()
const alone: number[] = []
const busy: number[] = []
for (let round = 0; round < Number(values.rounds); round++) {
  alone.push(await speed())
  const loops = Array.from({ length: Number(values.loops) }, () => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }))
  try {
    await sleep(300)
    busy.push(await speed())
  } finally {
    for (const loop of loops) loop.kill('SIGKILL')
  }
  await sleep(100)
}
const { hardware } = await systemInfo()
const record = {
  schema: 2, suite: 'busy-machine', date: new Date().toISOString(), model: basename(path), mode: model.plan.mode, cpu: hardware.cpu.model, isa: model.facts.isa,
  threads: model.facts.threads, loops: Number(values.loops), alone_tok_s: alone, busy_tok_s: busy, ratio_of_medians: median(busy) / median(alone),
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
process.stdout.write(
  `${record.model}, ${record.mode}: ${median(alone).toFixed(1)} tok/s alone, ${median(busy).toFixed(1)} beside ${record.loops} busy loops: ${(record.ratio_of_medians * 100).toFixed(0)} %\n`,
)
