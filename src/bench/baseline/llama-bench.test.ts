// What could break: flags that a version does not know, so that it repacks or refuses; a row taken for another; output that is no JSON.
// How we notice: help texts of several versions, and rows in every order and with every kind of damage.
import { expect, test } from 'vitest'
import { cacheFlags, parseRows, speedsOf, weightFlags } from './llama-bench.js'

test.each([
  ['-mmp, --mmap <0|1>  (default: 1)\n-ot --override-tensor <p>=<b>', ['-mmp', '1', '-ot', '.*=CPU'], 'not repacked'],
  ['-lm, --load-mode <none|mmap>\n-mmp, --mmap <0|1> (DEPRECATED)\n--repack <0|1>  (default: 1)', ['-lm', 'mmap', '--repack', '0'], 'not repacked'],
  ['--load-mode <a|b>\n--repack <auto|on|off>\n-nr, --no-repack  equivalent', ['-lm', 'mmap', '--no-repack'], 'not repacked'],
  ['--load-mode <a|b>\n--repack <auto|on|off>', ['-lm', 'mmap', '--repack', 'off'], 'not repacked'],
  ['-mmp, --mmap <0|1>', ['-mmp', '1'], 'cannot be told not to'],
])('%j', (help, flags, words) => {
  expect(weightFlags(help).flags).toEqual(flags)
  expect(weightFlags(help).words).toContain(words)
})

test('a KV cache of blocks is asked for with flash attention, by what this version calls it', () => {
  expect(cacheFlags('-fa, --flash-attn <on|off|auto>', 'f16')).toEqual([])
  expect(cacheFlags('-fa, --flash-attn <on|off|auto>', 'q8_0')).toEqual(['-ctk', 'q8_0', '-ctv', 'q8_0', '-fa', 'on'])
  expect(cacheFlags('-fa, --flash-attn <0|1>', 'q8_0')).toEqual(['-ctk', 'q8_0', '-ctv', 'q8_0', '-fa', '1'])
})

const row = (n_prompt: number, n_gen: number, avg_ts: number): object => ({ build_commit: 'abc', n_prompt, n_gen, n_depth: 0, avg_ts, samples_ts: [avg_ts] })
const tests = [{ kind: 'pp', tokens: 64 }, { kind: 'tg', tokens: 16 }, { kind: 'tg', tokens: 64 }] as const

test('each test gets its own row, in whatever order they come', () => {
  const rows = [row(0, 64, 3), row(64, 64, 9), row(64, 0, 1), row(0, 16, 2)]
  for (let turn = 0; turn < rows.length; turn++) expect(speedsOf(parseRows(JSON.stringify([...rows.slice(turn), ...rows.slice(0, turn)])), tests)).toEqual([1, 2, 3])
  expect(() => speedsOf(parseRows(JSON.stringify(rows.slice(0, 3))), tests)).toThrow(/no row for tg16/)
})

test.each(['', 'error: failed', '[', '{}', '[{"n_prompt":1}]', '[{"n_prompt":1,"n_gen":"2","avg_ts":1}]', '[{"n_prompt":1,"n_gen":2,"avg_ts":-1}]', '[null]'])('%j is refused with a typed error', (text) => {
  expect(() => parseRows(text)).toThrow(expect.objectContaining({ code: 'ERR_HYPURA_UNSUPPORTED' }) as Error)
})
