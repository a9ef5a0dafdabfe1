// What could break: a window that begins with what the last one left in the cache, a token scored by the logits of its neighbour,
// the wrong half, a begin token where the model wants none, a standard error of something else; a short text found out
// after minutes of loading.
// How we notice: the figure is computed a second time from raw logits that `hypura logits` wrote of each window, by formulas
// written here; budgets and windows of odd length; texts and windows at the border of what is enough.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeModel } from '../scripts/make-model.js'
import { checkoutRoot } from '../scripts/tidy.js'
import { describeModel, loadModel, measurePerplexity, type Perplexity, perplexityWindows } from '../ts/engine/index.js'
import { modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-perplexity-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const tale = join(checkoutRoot, 'test/golden/tale.txt')
const text = readFileSync(tale, 'utf8')
const dense = modelPath('fable-dense-q4_k_m.gguf')
const moe = modelPath('fable-moe-q8_0.gguf')

/** -ln p of token `target`, from a row of logits, in double precision and another order than the library's. */
function nllOf(row: Float32Array, target: number): number {
  let sum = 0
  for (const logit of row) sum += Math.exp(logit - row[target]!)
  return Math.log(sum)
}

/** From what `hypura logits` says of each window: the other implementation. */
async function fromLogits(path: string, windows: readonly (readonly number[])[], args: readonly string[]): Promise<{ perplexity: number; standardError: number; scored: number }> {
  const nlls: number[] = []
  for (const [i, window] of windows.entries()) {
    const [ids, out] = [join(folder, `${i}.json`), join(folder, `${i}.f32`)]
    writeFileSync(ids, JSON.stringify(window))
    const { code, stdout, stderr } = await runCli(['logits', path, '--tokens', ids, '--out', out, ...args])
    expect(code, stderr).toBe(0)
    const { n_vocab: nVocab } = JSON.parse(stdout) as { n_vocab: number }
    const bytes = readFileSync(out)
    const rows = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
    for (let at = Math.floor(window.length / 2); at + 1 < window.length; at++) nlls.push(nllOf(rows.subarray(at * nVocab, (at + 1) * nVocab), window[at + 1]!))
  }
  const mean = nlls.reduce((sum, nll) => sum + nll, 0) / nlls.length
  const variance = nlls.reduce((sum, nll) => sum + (nll - mean) ** 2, 0) / nlls.length
  return { perplexity: Math.exp(mean), standardError: Math.exp(mean) * Math.sqrt(variance / (nlls.length - 1)), scored: nlls.length }
}

/** By hand: the model's begin token before each window's second token. */
async function cut(path: string, windowTokens: number, count: number): Promise<number[][]> {
  const tokenizer = (await describeModel(path)).tokenizer()
  const all = [...tokenizer.encode(text, { addSpecial: true })]
  expect(all[0]).toBe(tokenizer.bos)
  return Array.from({ length: count }, (_, i) => [tokenizer.bos!, ...all.slice(i * windowTokens + 1, (i + 1) * windowTokens)])
}

interface Printed {
  readonly perplexity: number
  readonly perplexity_error: number
  readonly scored_tokens: number
}

describe.each([
  { name: 'dense, in memory', path: dense, args: [], windowTokens: 128, count: 3 },
  { name: 'dense, an odd window, Q8_0 KV cache', path: dense, args: ['--kv-type', 'q8_0'], windowTokens: 61, count: 2 },
  { name: 'mixture, streamed', path: moe, args: ['--memory', '16MiB'], windowTokens: 300, count: 1 },
])('$name', ({ path, args, windowTokens, count }) => {
  test('is what its logits say', async () => {
    const windows = await cut(path, windowTokens, count)
    const expected = await fromLogits(path, windows, args)
    const { code, stdout, stderr } = await runCli(['perplexity', path, '-f', tale, '-c', String(windowTokens), '--chunks', String(count), '-o', 'json', ...args])
    expect(code, stderr).toBe(0)
    const found = JSON.parse(stdout) as Printed
    expect(found).toMatchObject({ schema: 1, windows: count, window_tokens: windowTokens, scored_tokens: count * (windowTokens - Math.floor(windowTokens / 2) - 1) })
    expect(found.scored_tokens).toBe(expected.scored)
    expect(found.perplexity / expected.perplexity).toBeCloseTo(1, 9)
    expect(found.perplexity_error / expected.standardError).toBeCloseTo(1, 6)
    // A trained model on a text of its own kind: far from 4,096 equal choices, far from knowing it.
    expect(found.perplexity).toBeGreaterThan(3)
    expect(found.perplexity).toBeLessThan(200)
  })
})

test('all full windows are taken, the same bits in any memory, chunk and order; people get a line', async () => {
  const windows = perplexityWindows((await describeModel(dense)).tokenizer(), text, { windowTokens: 256 })
  const of = async (...args: string[]): Promise<Printed> => JSON.parse((await runCli(['perplexity', dense, '-f', tale, '-c', '256', '-o', 'json', ...args])).stdout) as Printed
  const found = await of()
  expect(found).toMatchObject({ windows: windows.length, scored_tokens: windows.length * 127 })
  expect(windows.length).toBeGreaterThan(5)
  expect((await of('--memory', '4MiB', '-b', '7', '-t', '1')).perplexity).toBe(found.perplexity)
  const { stdout } = await runCli(['perplexity', dense, '-c', '256'], { input: text })
  expect(stdout).toMatch(new RegExp(`^PPL ${found.perplexity.toFixed(4)} ± ${found.perplexity_error.toFixed(4)}\n${found.scored_tokens} tokens scored, in ${windows.length} windows of 256 · [\\d.]+ tok/s\n$`))
})

test('a model without a begin token gets none', async () => {
  const plain = join(folder, 'plain.gguf')
  await makeModel({ out: plain, arch: 'qwen2', layers: 1, width: 64, heads: 2, kvHeads: 1, headDim: 32, ff: 64, vocab: 512, context: 64 })
  const tokenizer = (await describeModel(plain)).tokenizer()
  const windows = perplexityWindows(tokenizer, text, { windowTokens: 16 })
  const expected = [...(tokenizer.addBos ? [tokenizer.bos!] : []), ...tokenizer.encode(text)].slice(16, 32)
  if (tokenizer.addBos) expected[0] = tokenizer.bos!
  expect(windows[1]).toEqual(expected)
})

describe('in the library', () => {
  test('windows are told as they come, and the last is the result', async () => {
    await using model = await loadModel(dense, { contextLength: 64, logitsRows: 16 })
    const told: Perplexity[] = []
    const result = await measurePerplexity(model, text, { windowTokens: 64, windowsMax: 3, onWindow: (soFar, windows) => { expect(windows).toBe(3); told.push(soFar) } })
    expect(told.map(({ windows }) => windows)).toEqual([1, 2, 3])
    expect({ ...told[2]!, tokensPerSecond: 0 }).toEqual({ ...result, tokensPerSecond: 0 })
    expect(result.meanNll).toBeCloseTo(Math.log(result.perplexity), 12)
    await using _free = model.createSequence() // it gave its own back
  })

  test('it can be aborted, and leaves the model usable', async () => {
    await using model = await loadModel(dense, { contextLength: 256, logitsRows: 16 })
    const controller = new AbortController()
    const reason = new Error('enough')
    await expect(measurePerplexity(model, text, { windowTokens: 256, signal: controller.signal, onWindow: () => controller.abort(reason) })).rejects.toBe(reason)
    expect((await measurePerplexity(model, text, { windowTokens: 64, windowsMax: 1 })).scoredTokens).toBe(31)
  })

  test('what cannot be is refused with both numbers', async () => {
    await using model = await loadModel(dense, { contextLength: 64 })
    const refusal = (windowTokens: number, of = text): Promise<unknown> => measurePerplexity(model, of, { windowTokens }).catch((error: unknown) => error)
    expect(await refusal(65)).toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT', message: expect.stringMatching(/65 tokens do not fit a context of 64/) as string })
    expect(await refusal(32, 'Once upon a time there was')).toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT', details: { allowed: 'at least 32' } })
    expect(await refusal(7)).toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT', details: { field: 'windowTokens' } })
    await using _one = model.createSequence()
    expect(await refusal(64)).toMatchObject({ code: 'ERR_HYPURA_BUSY' })
  })
})

describe('refusals of the program come before anything is loaded', () => {
  test.each([
    [['-p', 'too short'], /the text has \d+ tokens, a window takes 512: give a longer text/],
    [['-f', tale, '-c', '4'], /windowTokens/], [['-f', tale, '-c', '100000'], /a window takes 100000: .*windows of \d+ at most/],
    [['-f', '/nowhere/text.txt'], /cannot read the text/], [['-f', tale, '--chunks', '0'], /--chunks[^]*from 1/], [[], /empty|no text/],
  ] as const)('%j', async (args, message) => {
    const { code, stdout, stderr } = await runCli(['perplexity', dense, ...args], { input: '' })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('mode:')
  })
})

test('Ctrl-C ends it with 130', async () => {
  const long = join(folder, 'long.txt')
  writeFileSync(long, text.repeat(40))
  const { code, stdout } = await runCli(['perplexity', dense, '-f', long, '-c', '256'], { interrupt: { signal: 'SIGINT', when: (_, stderr) => stderr.includes('mode:') } })
  expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
})
