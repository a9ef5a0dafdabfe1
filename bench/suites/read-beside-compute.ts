/**
 * How much reading the drive and computing slow each other on this machine, and what that leaves of the bound.
 *
 *   node dist/bench/suites/read-beside-compute.js MODEL [--rounds 5] [--tokens 60] [--read-mb N] [--out FILE]
 *
 * MODEL must fit into memory: it decodes from there, alone and while the same file is read past the page cache, in turn. Where a drive
 * is served by the processors that compute (virtual machines, encryption, checksums), a perfect overlap of both is not worth
 * the longer of the two. With --read-mb, what a streamed token reads, prints what remains: both bounds for such a token.
 */
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { jointSeconds } from '../../src/bench/bound.js'
import { median } from '../../src/bench/statistics.js'
import { loadModel, measureReads, systemInfo } from '../../ts/engine/index.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, tokens: { type: 'string', default: '60' }, 'read-mb': { type: 'string' }, out: { type: 'string' } },
})
const path = positionals[0]
if (path === undefined) throw new Error('usage: read-beside-compute.js MODEL [--rounds N] [--tokens N] [--read-mb N] [--out FILE]')
const maxTokens = Number(values.tokens)

await using model = await loadModel(path, { mode: 'resident', elastic: false, contextLength: maxTokens + 8 })

/** Tokens per second. */
async function decode(): Promise<number> {
  await using sequence = model.createSequence()
  return (await sequence.generate([1, 2, 3], { maxTokens, temperature: 0, ignoreEndTokens: true })).timings.decodeTokensPerSecond
}

/** Bytes per second, until it is told to stop, for two parts of half a second at least. */
async function read(until: Promise<unknown>): Promise<number> {
  let isOver = false
  void until.finally(() => (isOver = true))
  const parts: number[] = []
  while (!isOver || parts.length < 2) {
    const { bytesPerSecond, cached } = await measureReads(path!, { blockBytes: 1 << 20, depth: 12, seconds: 0.5 })
    if (cached) throw new Error('the page cache answered: drop it, or use a file system that reads past it')
    if (!isOver || parts.length < 2) parts.push(bytesPerSecond)
  }
  return median(parts)
}

await decode()
const rounds: { readonly read_bytes_s: number; readonly tok_s: number; readonly read_bytes_s_beside: number; readonly tok_s_beside: number }[] = []
for (let round = 0; round < Number(values.rounds); round++) {
  const reading = await read(Promise.resolve())
  const computing = await decode()
  const decoding = decode()
  const [computingBeside, readingBeside] = await Promise.all([decoding, read(decoding)])
  rounds.push({ read_bytes_s: reading, tok_s: computing, read_bytes_s_beside: readingBeside, tok_s_beside: computingBeside })
}
const of = (key: keyof (typeof rounds)[number]): number => median(rounds.map((round) => round[key]))
const shares = { reading: median(rounds.map((r) => r.read_bytes_s_beside / r.read_bytes_s)), computing: median(rounds.map((r) => r.tok_s_beside / r.tok_s)) }
const { hardware } = await systemInfo()
const megabytes = values['read-mb'] === undefined ? undefined : Number(values['read-mb'])
const seconds = megabytes === undefined ? undefined : { reading: (megabytes * 1e6) / of('read_bytes_s'), computing: 1 / of('tok_s') }
const bounds = seconds === undefined ? undefined : {
  read_mb_per_token: megabytes,
  longer_tok_s: 1 / Math.max(seconds.reading, seconds.computing),
  joint_tok_s: 1 / jointSeconds(seconds.reading, seconds.computing, shares),
  in_turn_tok_s: 1 / (seconds.reading + seconds.computing),
}
const record = {
  schema: 1, suite: 'read-beside-compute', date: new Date().toISOString(), model: basename(path), cpu: hardware.cpu.model, isa: model.facts.isa, threads: model.facts.threads,
  rounds, reading_share: shares.reading, computing_share: shares.computing, ...bounds,
}
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`)
const gigabytes = (key: 'read_bytes_s' | 'read_bytes_s_beside'): string => `${(of(key) / 1e9).toFixed(2)} GB/s`
process.stdout.write(
  `${record.model}: decodes ${of('tok_s').toFixed(1)} tok/s alone, ${of('tok_s_beside').toFixed(1)} beside reading (${(shares.computing * 100).toFixed(0)} %); ` +
  `reads ${gigabytes('read_bytes_s')} alone, ${gigabytes('read_bytes_s_beside')} beside decoding (${(shares.reading * 100).toFixed(0)} %)\n`,
)
if (bounds !== undefined) {
  process.stdout.write(
    `${megabytes} MB per token: ${bounds.longer_tok_s.toFixed(1)} tok/s if neither slowed the other, ${bounds.joint_tok_s.toFixed(1)} as they do, ${bounds.in_turn_tok_s.toFixed(1)} one after the other\n`,
  )
}
