// What could break: a field that scripts read is missing or means something else, a speed without proof, bytes of one counter
// only, a flag that is parsed and ignored, an interrupted or beaten run that leaves nothing behind.
// How we notice: the program measures the shipped models; each promised field is there and agrees with the others, with the
// plan's own arithmetic, and with programs that play llama-bench.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { planModel } from '../ts/engine/index.js'
import { type CliOptions, modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-bench-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const dense = modelPath('fable-dense-q4_0.gguf')
const moe = modelPath('fable-moe-q8_0.gguf')

interface Row {
  readonly [field: string]: unknown
  readonly samples_ns: readonly number[]
  readonly samples_ts: readonly number[]
  readonly avg_ts: number
  readonly hypura: Readonly<Record<string, unknown>>
}
type Fields = Readonly<Record<string, unknown>>
const num = (value: unknown): number => {
  expect(typeof value).toBe('number')
  return value as number
}

const small = ['-p', '48', '-n', '12', '-r', '2', '--warmup', '4']
async function rowsOf(args: readonly string[], options?: CliOptions): Promise<{ rows: Row[]; stderr: string }> {
  const { code, stdout, stderr } = await runCli(['bench', ...args, '-o', 'json'], options)
  expect(code, stderr).toBe(0)
  return { rows: JSON.parse(stdout) as Row[], stderr }
}

describe.each([
  { name: 'dense', path: dense, memory: '3MiB' },
  { name: 'mixture', path: moe, memory: '12MiB' },
])('a streamed $name model', async ({ name, path, memory }) => {
  const { rows } = await rowsOf([path, ...small, '--memory', memory, '--batch-size', '16'])
  const plan = await planModel(path, { memory, contextLength: 256, batchSize: 16 })
  const [pp, tg] = rows as [Row, Row]

  test('has llama-bench\'s fields, and they agree with each other', () => {
    expect(rows).toHaveLength(2)
    expect([pp['n_prompt'], pp['n_gen'], tg['n_prompt'], tg['n_gen']]).toEqual([48, 0, 0, 12])
    for (const row of rows) {
      for (const field of ['build_commit', 'build_number', 'cpu_info', 'gpu_info', 'backends', 'model_filename', 'model_type', 'model_size', 'model_n_params', 'n_batch', 'n_ubatch', 'n_threads', 'type_k', 'type_v', 'n_gpu_layers', 'flash_attn', 'use_mmap', 'embeddings', 'n_depth', 'test_time', 'stddev_ns', 'stddev_ts']) expect(row, field).toHaveProperty(field)
      expect(row.samples_ns).toHaveLength(2)
      const tokens = num(row['n_prompt']) + num(row['n_gen'])
      row.samples_ns.forEach((ns, i) => expect(row.samples_ts[i]).toBeCloseTo((tokens * 1e9) / ns, 6))
      expect(row.avg_ts).toBeCloseTo((row.samples_ts[0]! + row.samples_ts[1]!) / 2, 9)
      expect(num(row['avg_ns'])).toBeCloseTo((row.samples_ns[0]! + row.samples_ns[1]!) / 2, -1)
      expect(Date.parse(row['test_time'] as string)).toBeGreaterThan(Date.now() - 600_000)
      expect(row['model_size']).toBe(plan.modelBytes)
    }
  })

  test('has every field of ours, both sides filled from the same run', () => {
    // Records are published.
    expect(rows.map((row) => row['model_filename'])).toEqual([basename(path), basename(path)])
    expect(JSON.stringify(rows)).not.toContain(dirname(path))
    for (const { hypura } of rows) {
      for (const field of ['memory_bytes', 'model_bytes', 'pp_tok_s', 'tg_tok_s', 'disk_gb_s', 'bytes_per_token', 'hit_rate', 'stall_ms_per_token', 'compute_ms_per_token', 'peak_bytes', 'major_faults', 'bytes_read']) expect(num(hypura[field]), field).toBeGreaterThanOrEqual(0)
      for (const field of ['tg_bound_tok_s', 'tg_bound_pct', 'pp_bound_pct', 'os_bytes_per_token', 'device_busy_pct', 'bytes_written', 'cgroup_peak_bytes', 'oom_kills', 'swapped_bytes', 'energy', 'wear', 'sentinel', 'baseline', 'quantiles', 'expert_hit_rate', 'warnings']) expect(hypura, field).toHaveProperty(field)
      expect(hypura).toMatchObject({ schema: 1, model: basename(path), mode: 'stream', partial: false, tg_tok_s: tg.avg_ts, pp_tok_s: pp.avg_ts, baseline: null })
      const { cold, warmup, steady } = hypura['phases'] as { cold: Fields; warmup: Fields; steady: Fields | null }
      for (const field of ['load_ms', 'load_bytes', 'first_token_ms']) expect(num(cold[field])).toBeGreaterThan(0)
      expect(typeof cold['pages_dropped']).toBe('boolean')
      expect(warmup).toMatchObject({ tokens: 4 })
      if (steady !== null) expect(steady).toMatchObject({ tokens: 24 })
      expect(hypura['environment']).toMatchObject({ node: process.version, drive: { kind: expect.any(String) as string }, model: { header_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string } })
    }
    const { p10, p50, p90 } = tg.hypura['quantiles'] as { p10: number; p50: number; p90: number }
    expect(0 < p10 && p10 <= p50 && p50 <= p90).toBe(true)
  })

  test('the engine\'s bytes are those that the plan foretold, and the system saw them', () => {
    const { hypura } = tg
    const streamed = plan.reads.streamedBytes
    if (name === 'dense') {
      // Never less, and not more than pages at the edges of bands and one band of the embedding would make it.
      expect(streamed).toBeGreaterThan(0)
      expect(num(hypura['bytes_per_token'])).toBeGreaterThanOrEqual(streamed)
      expect(num(hypura['bytes_per_token'])).toBeLessThanOrEqual(streamed + plan.reads.streamedBands * 8192 + 128 * 1024)
      expect(hypura['bound_bytes']).toBe(streamed * 24)
      expect(hypura['expert_hit_rate']).toBeNull()
    } else {
      expect(num(hypura['bytes_per_token'])).toBeGreaterThan(streamed)
      expect(num(hypura['expert_hit_rate'])).toBeLessThan(1)
    }
    const system = hypura['os_bytes_per_token'] as number | null
    const { direct } = hypura['engine'] as { direct: boolean }
    if (system !== null && direct) expect(system).toBeGreaterThan(num(hypura['bytes_per_token']) * 0.9)
  })

  test('the bound is the arithmetic of what stands in the record', () => {
    for (const [row, side] of [[pp, 'pp'], [tg, 'tg']] as const) {
      const { hypura } = row
      const b = (hypura['bandwidth'] as { bytes_per_second: number | null; reason: string | null })
      if (b.bytes_per_second === null) {
        expect(hypura[`${side}_bound_pct`]).toBeNull()
        expect(b.reason).toMatch(/\w/)
        continue
      }
      const tokens = 2 * (num(row['n_prompt']) + num(row['n_gen']))
      const seconds = Math.max(num(hypura['bound_bytes']) / b.bytes_per_second, (num(hypura['compute_ms_per_token']) / 1000) * tokens)
      expect(num(hypura[`${side}_bound_tok_s`])).toBeCloseTo(tokens / seconds, 6)
      expect(num(hypura[`${side}_bound_pct`])).toBeCloseTo((row.avg_ts / (tokens / seconds)) * 100, 6)
    }
  })

  test('every answer was asked twice, and once more with all weights in memory', () => {
    expect(tg.hypura['agreement']).toMatchObject({ comparisons: 2 + 4, equal: true, resident: 'compared, equal' })
  })

  // The first reader of a new file has its time of access written, a page of metadata each; weights would be megabytes.
  test('nothing but times of access was written', () => expect(Number(tg.hypura['bytes_written'] ?? 0)).toBeLessThan(2 ** 18))
})

describe('flags of bench', async () => {
  const quick = [dense, '-p', '0', '-n', '4', '-r', '1', '--warmup', '1', '--no-check-resident']
  const one = async (...args: string[]): Promise<Row> => (await rowsOf([...quick, ...args])).rows[0]!
  const own = async (...args: string[]): Promise<Fields> => (await one(...args)).hypura
  const effects: Readonly<Record<string, () => Promise<void>>> = {
    '--n-prompt': async () => expect((await rowsOf([...quick, '-p', '8,16'])).rows.map((row) => row['n_prompt'])).toEqual([8, 16, 0]),
    '--n-gen': async () => expect((await rowsOf([...quick, '-n', '2,3'])).rows.map((row) => row['n_gen'])).toEqual([2, 3]),
    '--n-depth': async () => {
      const row = await one('-d', '100')
      expect([row['n_depth'], row.hypura['test'], (row.hypura['plan'] as Fields)['context']]).toEqual([100, 'tg4 @ d100', 104])
    },
    '--repetitions': async () => expect((await one('-r', '4')).samples_ns).toHaveLength(4),
    '--warmup': async () => expect(((await own('--warmup', '0'))['phases'] as Fields)['warmup']).toBeNull(),
    '--memory': async () => expect(await own('--memory', '3MiB')).toMatchObject({ mode: 'stream', memory_bytes: 3 * 2 ** 20 }),
    '--mode': async () => expect(await own('--mode', 'stream')).toMatchObject({ mode: 'stream' }),
    '--kv-type': async () => {
      const row = await one('--kv-type', 'q8_0', '--memory', '3MiB', '--baseline', fakeBench('print_rows # blocks'))
      expect([row['type_k'], row['type_v']]).toEqual(['q8_0', 'q8_0'])
      expect(readFileSync(join(folder, 'llama-bench-print_rowsblocks.calls'), 'utf8')).toContain('-ctk q8_0 -ctv q8_0')
      expect([(await one())['type_k'], (await one('--kv-type', 'f16'))['type_v']]).toEqual(['f16', 'f16'])
    },
    '--batch-size': async () => expect((await one('-b', '4'))['n_batch']).toBe(4),
    '--threads': async () => expect((await one('-t', '1'))['n_threads']).toBe(1),
    '--io': async () => expect((await own('--io', 'buffered', '--memory', '3MiB'))['engine']).toMatchObject({ io: 'buffered', direct: false }),
    '--io-depth': async () => expect((await own('--io-depth', '2'))['bandwidth']).toMatchObject({ depth: 2 }),
    '--eviction': async () => expect((await rowsOf([moe, ...quick.slice(1), '--eviction', 'recency', '--memory', '12MiB'])).rows).toHaveLength(1),
    '--guess': async () => expect((await rowsOf([moe, ...quick.slice(1), '--guess', 'prefetch', '--memory', '12MiB'])).rows).toHaveLength(1),
    '--guess-source': async () => {
      const [row] = (await rowsOf([moe, ...quick.slice(1), '-n', '200', '--warmup', '200', '--guess', 'prefetch', '--guess-source', 'markov', '--memory', '12MiB'])).rows
      expect(row!.hypura['guesses']).toMatchObject({ mode: 'prefetch', acting: 'markov', decided: null })
    },
    '--tokenizer-pre': async () => expect((await runCli(['bench', ...quick, '--tokenizer-pre', 'gpt-3'])).code).toBe(3),
    '--seed': async () => expect((await own('--seed', '77'))['protocol']).toMatchObject({ seed: 77 }),
    '--no-check-resident': async () => expect((await own('--memory', '3MiB'))['agreement']).toMatchObject({ resident: expect.stringContaining('--no-check-resident') as string }),
    '--baseline': async () => expect((await own('--baseline', fakeBench('print_rows')))['baseline']).toMatchObject({ peer: 'llama-bench' }),
    '--tbw': async () => expect((await own('--tbw', '600'))['wear']).toMatchObject({ rated_tbw: 600 }),
    '--output': async () => {
      expect((await runCli(['bench', ...quick, '-o', 'md'])).stdout).toMatch(/^\| model +\| +size \| +params \| backend \| threads \| +test \| +t\/s \| mode/)
      expect((await runCli(['bench', ...quick, '-o', 'csv'])).stdout).toMatch(/^build_commit,[^]*\n"[^]*,"tg4"/)
      expect((await runCli(['bench', ...quick])).stdout).toMatch(/^model +size[^]*\nbound +tg4: .*bound; reached [^]*\nanswers +1 compared, 4 tokens, all equal/)
    },
    '--out-file': async () => {
      const file = join(folder, 'record.json')
      const { stdout } = await runCli(['bench', ...quick, '-o', 'json', '--out-file', file])
      expect(readFileSync(file, 'utf8')).toBe(stdout)
      const refused = await runCli(['bench', ...quick, '--out-file', '/nowhere/record.json'])
      expect(refused).toMatchObject({ code: 2, stdout: '' })
      expect(refused.stderr).not.toContain('mode:')
    },
    '--dry-run': async () => {
      const shown = await runCli(['bench', dense, '--memory', '4MiB', '--dry-run'])
      expect(shown.code).toBe(0)
      expect(shown.stdout).toMatch(/tests +pp512, tg128; 3 rounds[^]*memory +stream, budget 4\.0 MiB[^]*duration +about [\d.]+ m?s/)
      expect(JSON.parse((await runCli(['bench', dense, '--dry-run', '-o', 'json'])).stdout)).toMatchObject({ schema: 1, tests: ['pp512', 'tg128'], repetitions: 3 })
    },
  }
  const { stdout: help } = await runCli(['bench', '--help'])
  const flags = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag!).filter((flag) => flag !== '--help')

  test('every flag that help names has a case here', () => expect(flags.toSorted()).toEqual(Object.keys(effects).toSorted()))
  test.each(Object.keys(effects))('%s', (flag) => effects[flag]!())
  test('help ends with examples and fits a terminal', () => {
    expect(help).toMatch(/Examples:\n {2}hypura bench /)
    expect(Math.max(...help.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(100)
  })
})

test.each([
  [['-p', 'many'], '--n-prompt'], [['-p', '0', '-n', '0'], 'nothing to measure'], [['-r', '0'], 'from 1'], [['--mode', 'fast'], 'mmap'],
  [['--baseline', '/nowhere/llama-bench'], 'does not exist'], [['--baseline', '/bin/true'], 'not a llama-bench'],
])('%j is refused before anything is loaded', async (args, advice) => {
  const { code, stdout, stderr } = await runCli(['bench', dense, ...args])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(advice)
  expect(stderr).not.toContain('mode:')
})

/** A program that answers as llama-bench does; `act` is what it does when it is run in earnest. */
function fakeBench(act: string): string {
  const path = join(folder, `llama-bench-${act.replace(/\W/g, '')}`)
  writeFileSync(path, `#!/bin/sh
if [ "$1" = --help ]; then echo "--n-prompt <n> --repetitions <n> --mmap <0|1> --repack <0|1> --n-gpu-layers <n>"; exit 0; fi
print_rows() { echo '[{"n_prompt":8,"n_gen":0,"avg_ts":10.5},{"n_prompt":0,"n_gen":4,"avg_ts":2.5}]'; }
echo "$@" >> ${path}.calls
${act}
`)
  chmodSync(path, 0o755)
  return path
}

describe('beside a peer', () => {
  const args = [dense, '-p', '8', '-n', '4', '-r', '2', '--warmup', '1', '--memory', '3MiB', '--no-check-resident']

  test('its speed, its flags and the ratio are recorded, one of its runs per round of ours', async () => {
    const path = fakeBench('print_rows # twice')
    const { rows } = await rowsOf([...args, '--baseline', path])
    const baselines = rows.map(({ hypura }) => hypura['baseline'] as Fields)
    expect(baselines[0]).toMatchObject({ peer: 'llama-bench', weights: 'mmap, not repacked', samples_ts: [10.5, 10.5], avg_ts: 10.5 })
    expect(baselines[1]).toMatchObject({ samples_ts: [2.5, 2.5], ratio: expect.closeTo(rows[1]!.avg_ts / 2.5, 6) as number })
    const calls = readFileSync(`${path}.calls`, 'utf8').trim().split('\n')
    expect(calls).toHaveLength(2)
    expect(calls[0]).toMatch(/-p 8 -n 4 -r 1 -t \d+ -o json -mmp 1 --repack 0 -ngl 0$/)
    expect(rows[1]!.hypura['sentinel']).toMatchObject({ drift_pct: expect.any(Number) as number })
  })

  test.each([['kill -9 $$', 'killed'], ['echo broken >&2; exit 1', 'failed'], ['echo nonsense', 'failed']])('%s: that is its result, and ours stands', async (act, outcome) => {
    const { rows } = await rowsOf([...args, '--baseline', fakeBench(act)])
    expect(rows[1]!.hypura['baseline']).toMatchObject({ samples_ts: [], avg_ts: null, ratio: null, runs: [{ outcome }, { outcome }] })
    expect(rows[1]!.avg_ts).toBeGreaterThan(0)
  })

  test('without one, the error says what to install or give', async () => {
    const { code, stderr } = await runCli(['bench', ...args, '--baseline'], { cwd: folder, env: { HYPURA_LLAMA_CPP: join(folder, 'absent') } })
    expect(code).toBe(2)
    expect(stderr).toMatch(/HYPURA_LLAMA_CPP: .*absent does not exist/)
    expect(stderr).toContain('ERR_HYPURA_USAGE')
  })
})

test('an interrupted run ends with 130 and what it has, marked as partial', async () => {
  const file = join(folder, 'partial.json')
  const { code, stdout, stderr } = await runCli(['bench', dense, '-p', '16', '-n', '100', '-r', '1000', '--memory', '3MiB', '-o', 'json', '--out-file', file], {
    interrupt: { signal: 'SIGINT', when: (_, errors) => /one round takes/.test(errors) },
  })
  expect(code, stderr).toBe(130)
  const rows = JSON.parse(stdout) as Row[]
  expect(rows.length).toBeGreaterThan(0)
  for (const { hypura } of rows) expect(hypura).toMatchObject({ partial: true })
  expect(stderr).toContain('interrupted')
  expect(existsSync(file)).toBe(true)
})
