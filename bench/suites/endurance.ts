/**
 * Does a long run stay as fast as it began, and as small? Decodes for half an hour and compares its ends.
 *
 *   node dist/bench/suites/endurance.js MODEL [--minutes 30] [--ends 5] [--memory auto] [--tokens 32] [--out FILE]
 *
 * Rounds of a short prompt and `tokens` tokens on a fresh sequence, so that every round does the same work. After each round the
 * drive's bandwidth is measured in the engine's own way of reading: a round's pair is its speed over that bandwidth, which takes
 * the neighbours' noise out of the comparison. Memory is what the system says of the process after each round.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { loadModel, measureReads, processStats } from '../../ts/engine/index.js'
import { median } from '../../src/bench/statistics.js'

interface Round {
  readonly endedAtSeconds: number
  readonly tok_s: number
  readonly drive_bytes_s: number
  readonly resident_bytes: number
  readonly major_faults: number
  readonly bytes_per_token: number
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '30' },
    ends: { type: 'string', default: '5' },
    memory: { type: 'string', default: 'auto' },
    tokens: { type: 'string', default: '32' },
    out: { type: 'string' },
  },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: endurance.js MODEL [--minutes N] [--ends N] [--memory SIZE] [--tokens N] [--out FILE]')
const seconds = Number(values.minutes) * 60
const endSeconds = Number(values.ends) * 60
const maxTokens = Number(values.tokens)
const promptTokens = 4

await using model = await loadModel(path, { memory: values.memory, contextLength: promptTokens + maxTokens })
const { nVocab } = model.description.spec
const rounds: Round[] = []
const begin = performance.now()
for (let round = 0; performance.now() - begin < seconds * 1000; round++) {
  await using sequence = model.createSequence()
  const prompt = Array.from({ length: promptTokens }, (_, i) => (round * 7919 + i * 104_729 + 1) % nVocab)
  const before = { engine: model.stats(), process: processStats() }
  const { timings } = await sequence.generate(prompt, { maxTokens, temperature: 0, seed: 1, ignoreEndTokens: true })
  const after = { engine: model.stats(), process: processStats() }
  const drive = await measureReads(path, { seconds: 0.7, seed: round })
  rounds.push({
    endedAtSeconds: (performance.now() - begin) / 1000,
    tok_s: timings.decodeTokensPerSecond,
    drive_bytes_s: drive.bytesPerSecond,
    resident_bytes: after.process.residentBytes,
    major_faults: after.process.majorFaults - before.process.majorFaults,
    bytes_per_token: (after.engine.readBytes - before.engine.readBytes) / (after.engine.sweeps - before.engine.sweeps),
  })
}

const total = rounds.at(-1)!.endedAtSeconds
const ends = {
  first: rounds.filter(({ endedAtSeconds }) => endedAtSeconds <= endSeconds),
  last: rounds.filter(({ endedAtSeconds }) => endedAtSeconds > total - endSeconds),
}
const of = (end: readonly Round[]): { tok_s: number; tokens_per_gb_of_bandwidth: number; resident_bytes: number } => ({
  tok_s: median(end.map(({ tok_s }) => tok_s)),
  tokens_per_gb_of_bandwidth: median(end.map(({ tok_s, drive_bytes_s }) => (tok_s / drive_bytes_s) * 1e9)),
  resident_bytes: median(end.map(({ resident_bytes }) => resident_bytes)),
})
const first = of(ends.first)
const last = of(ends.last)
const record = {
  schema: 1,
  suite: 'endurance',
  date: new Date().toISOString(),
  model: basename(path),
  mode: model.plan.mode,
  memory_bytes: model.plan.budgetBytes,
  minutes: total / 60,
  first,
  last,
  speed_ratio: last.tok_s / first.tok_s,
  paired_speed_ratio: last.tokens_per_gb_of_bandwidth / first.tokens_per_gb_of_bandwidth,
  resident_growth_bytes: last.resident_bytes - first.resident_bytes,
  rounds,
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
process.stdout.write(
  `${record.model}: ${record.minutes.toFixed(1)} min, ${first.tok_s.toFixed(3)} tok/s first, ${last.tok_s.toFixed(3)} last (ratio ${record.speed_ratio.toFixed(3)}, ` +
  `paired with the drive ${record.paired_speed_ratio.toFixed(3)}), memory ${(record.resident_growth_bytes / 2 ** 20).toFixed(1)} MiB more\n`,
)
