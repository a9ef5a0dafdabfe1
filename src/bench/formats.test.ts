// What could break: a table whose columns are shifted, a CSV cell with a comma or a quote, a value that is absent and reads as zero.
// How we notice: both are parsed back and compared with the rows.
import { expect, test } from 'vitest'
import { csv, markdown } from './formats.js'
import type { Row } from './rows.js'

const row = (changes: object, own: object): Row => ({
  model_type: 'llama 7B Q4_K - Medium', model_size: 2 ** 32, model_n_params: 7.24e9, backends: 'CPU', n_threads: 2, n_prompt: 0, n_gen: 128, avg_ts: 1.234, stddev_ts: 0.05, cpu_info: 'A, "B"', samples_ns: [1, 2],
  ...changes,
  hypura: { test: 'tg128', mode: 'stream', memory_bytes: 2 ** 31, hit_rate: 0.43, expert_hit_rate: null, bytes_per_token: 2.27 * 2 ** 30, disk_gb_s: 2.5, tg_bound_pct: 92.4, pp_bound_pct: null, stall_pct: 26, baseline: null, phases: {}, ...own },
})

test('the Markdown table begins with llama-bench\'s columns and holds each value in its own', () => {
  const baseline = { peer: 'llama-bench', avg_ts: null, runs: [{ outcome: 'killed' }] }
  const lines = markdown([row({}, {}), row({ n_prompt: 512, n_gen: 0 }, { test: 'pp512', pp_bound_pct: 50, bytes_per_token: 1e6, expert_hit_rate: 0.9, baseline })]).split('\n').filter((line) => line.startsWith('|'))
  const cells = lines.map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()))
  expect(new Set(cells.map(({ length }) => length))).toEqual(new Set([14]))
  expect(cells[0]!.slice(0, 7)).toEqual(['model', 'size', 'params', 'backend', 'threads', 'test', 't/s'])
  expect(cells[0]!.slice(7)).toEqual(['mode', 'budget', 'hit %', 'GiB/tok', 'GB/s', '% of bound', 'stall %'])
  expect(cells[2]).toEqual(['llama 7B Q4_K - Medium', '4.00 GiB', '7.24 B', 'CPU', '2', 'tg128', '1.23 ± 0.05', 'stream', '2.0 GiB', '43', '2.27', '2.50', '92', '26'])
  expect(cells[3]!.slice(5)).toEqual(['pp512', '1.23 ± 0.05', 'stream', '2.0 GiB', '90', '0.0009', '2.50', '50', '26'])
  expect(cells[4]!.slice(5)).toEqual(['pp512', 'killed', 'llama-bench mmap', '-', '-', '-', '-', '-', '-'])
})

test('CSV survives quotes and commas, and leaves out what is no scalar', () => {
  const [head, line] = csv([row({}, {})]).trim().split('\n').map((text) => [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!))
  expect(line).toHaveLength(head!.length)
  const value = (name: string): string | undefined => line![head!.indexOf(name)]
  expect([value('cpu_info'), value('avg_ts'), value('hypura_test'), value('hypura_pp_bound_pct')]).toEqual(['A, "B"', '1.234', 'tg128', ''])
  expect(head).not.toContain('samples_ns')
  expect(head).not.toContain('hypura_phases')
  expect(csv([])).toBe('\n')
})
