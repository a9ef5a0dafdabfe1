// What could break: the program's promises to scripts: what is on stdout, exit codes, the stats line, JSON that parses.
// How we notice: the program is started as a user starts it, on a shipped model, and everything it says is looked at.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { cliPath, modelPath, runCli } from './support/run-cli.js'
import { spawn } from 'node:child_process'

const folder = mkdtempSync(join(tmpdir(), 'hypura-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const moe = modelPath('fable-moe-q8_0.gguf')
const dense = modelPath('fable-dense-q4_k_m.gguf')

test('the program may be executed: npx links it once and never again', () => {
  expect(statSync(cliPath).mode & 0o111).toBe(0o111)
})

describe('run', () => {
  test('streams a model larger than its budget and prints a story', async () => {
    const { code, stdout, stderr } = await runCli(['run', moe, '--memory', '16MiB', '-n', '60', '-p', 'Once upon a time'])
    expect(code).toBe(0)
    expect(stdout.split(/\s+/).length).toBeGreaterThan(25)
    expect(stderr).toMatch(/^mode: stream · \w+ direct/m)
    expect(stderr).toMatch(/\[60 tok · [\d.]+ tok\/s · ttft .* · stream · .*hit \d.* · [\d.]+ MiB\/tok · [\d.]+ GB\/s · stall .*seed \d+ · length\]/)
    expect(stderr).not.toContain('\r')
  })

  test('the same seed gives the same text, streamed or resident', async () => {
    const run = (memory: string): Promise<string> => runCli(['run', moe, '--memory', memory, '-n', '24', '--seed', '7', '-p', 'The old king']).then(({ stdout }) => stdout)
    expect(await run('16MiB')).toBe(await run('1GiB'))
  })

  test('takes the prompt from stdin and from a file, -p behind it', async () => {
    const file = join(folder, 'prompt.txt')
    writeFileSync(file, 'Once upon')
    const args = ['run', dense, '-n', '8', '--temp', '0', '--no-footer']
    const piped = await runCli(args, { input: 'Once upon a time' })
    const given = await runCli([...args, '-p', 'Once upon a time'])
    expect(piped.stdout).toBe(given.stdout)
    const joined = await runCli([...args, '-f', file, '-p', 'a time'])
    const whole = await runCli([...args, '-p', 'Once upon\n\na time'])
    expect(joined.stdout).toBe(whole.stdout)
    expect(given.stderr).not.toContain('tok/s')
  })

  test('appends one line of figures to the stats file', async () => {
    const file = join(folder, 'stats.jsonl')
    for (let i = 0; i < 2; i++) await runCli(['run', moe, '--memory', '16MiB', '-n', '16', '--temp', '0', '--stats-file', file, '-p', 'Once upon a time'])
    const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines).toHaveLength(2)
    const names = ['model', 'mode', 'memory_bytes', 'kv_type', 'peak_bytes', 'tokens', 'prompt_tokens', 'ttft_ms', 'decode_tok_s', 'bytes_read', 'os_bytes_read', 'bytes_written', 'hit_rate', 'stall_ms', 'guesses']
    expect(Object.keys(lines[0]!)).toEqual(names)
    expect(lines[0]).toMatchObject({ mode: 'stream', memory_bytes: 16 * 2 ** 20, tokens: 16 })
    expect(lines[0]!['bytes_read']).toBeGreaterThan(2 ** 20)
  })

  test('a stop string ends the answer before it', async () => {
    const args = ['run', dense, '-n', '40', '--temp', '0', '-p', 'Once upon a time']
    const full = (await runCli(args)).stdout.trimEnd()
    const stop = full.slice(20, 26)
    const { stdout, stderr } = await runCli([...args, '--stop', stop])
    expect(stdout.trimEnd()).toBe(full.slice(0, full.indexOf(stop)).trimEnd())
    expect(stderr).toContain('stop-string')
  })

  test('Ctrl-C stops the answer, keeps what there is, and ends with 130', async () => {
    const { code, stdout, stderr } = await runCli(['run', moe, '--memory', '16MiB', '-n', '900', '--ignore-eos', '-p', 'Once upon a time'], { interrupt: { signal: 'SIGINT', when: (text) => text.length > 40 } })
    expect(code).toBe(130)
    expect(stdout.length).toBeGreaterThan(40)
    expect(stderr).toContain('aborted')
  })

  test('a reader that leaves is a quiet end', async () => {
    const child = spawn('/bin/sh', ['-c', `"${process.execPath}" "${cliPath}" run "${dense}" -n 200 --ignore-eos -p "Once upon a time" | head -c 10; echo "\${PIPESTATUS:-}"`], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await new Promise((resolve) => child.on('close', resolve))
    expect(stderr).not.toMatch(/EPIPE|Error/)
  })
})

describe('refusals', () => {
  test('below the floor: exit code 4 and the floor', async () => {
    const { code, stderr, stdout } = await runCli(['run', moe, '--memory', '1MiB', '-p', 'x'])
    expect(code).toBe(4)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/needs [\d.]+ MiB/)
    expect(stderr).toContain('ERR_HYPURA_INSUFFICIENT_MEMORY')
  })

  test('the floor that is named is enough', async () => {
    const { stderr } = await runCli(['run', moe, '--memory', '1MiB', '-p', 'x'])
    const floor = /--memory ([\d.]+MiB)/.exec(stderr)?.[1]
    expect(floor).toBeDefined()
    const { code, stdout } = await runCli(['run', moe, '--memory', floor!, '-n', '8', '-p', 'Once upon a time'])
    expect(code).toBe(0)
    expect(stdout.length).toBeGreaterThan(8)
  })

  test.each([
    [['frobnicate'], 2], [['run'], 2], [['run', moe, '--memory', 'lots', '-p', 'x'], 2], [['run', moe, '--frob'], 2],
    [['run', moe, '-n', '12abc', '-p', 'x'], 2], [['run', moe, '--io', 'magic', '-p', 'x'], 2], [['run', moe, '-p', 'x', 'y'], 2],
    [['run', 'nowhere.gguf', '-p', 'x'], 3], [['logits', moe], 2], [['chat', moe], 1],
  ] as const)('%j ends with %i', async (args, expected) => {
    const { code, stderr, stdout } = await runCli(args)
    expect(code).toBe(expected)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/error:/i)
  })

  test('help and version are no errors', async () => {
    expect((await runCli(['--help'])).code).toBe(0)
    expect((await runCli(['run', '--help'])).stdout).toContain('--memory')
    expect((await runCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  test('a prompt longer than the context names both numbers', async () => {
    const { code, stderr } = await runCli(['run', dense, '-c', '64', '-p', 'word '.repeat(200)])
    expect(code).toBe(1)
    expect(stderr).toMatch(/need: \d+, have: 64|needs \d+ positions, the context holds 64/)
  })
})

describe('figures for scripts', () => {
  test('logits writes [positions, n_vocab] floats whose hash it prints', async () => {
    const out = join(folder, 'logits.f32')
    const ids = join(folder, 'ids.json')
    writeFileSync(ids, JSON.stringify([0, 80, 1513, 642, 259]))
    const { code, stdout } = await runCli(['logits', moe, '--tokens', ids, '--out', out, '--memory', '16MiB', '--threads', '1', '--io', 'pread', '--batch-size', '2'])
    expect(code).toBe(0)
    const printed = JSON.parse(stdout) as { tokens: number; sha256: string; mode: string; n_vocab: number }
    expect(printed).toMatchObject({ tokens: 5, mode: 'stream', n_vocab: 4096 })
    expect(statSync(out).size).toBe(5 * 4096 * 4)
    expect(createHash('sha256').update(readFileSync(out)).digest('hex')).toBe(printed.sha256)
    const text = await runCli(['logits', moe, '-p', 'Once upon a time', '--memory', '1GiB'])
    expect(JSON.parse(text.stdout)).toMatchObject({ mode: 'resident' })
  })

  test('plan, inspect and doctor speak JSON', async () => {
    const plan = JSON.parse((await runCli(['plan', moe, '--memory', '16MiB', '-o', 'json'])).stdout) as Record<string, unknown>
    expect(plan).toMatchObject({ mode: 'stream', budget_bytes: 16 * 2 ** 20 })
    const inspect = JSON.parse((await runCli(['inspect', moe, '-o', 'json'])).stdout) as Record<string, unknown>
    expect(inspect).toMatchObject({ architecture: 'qwen3moe', version: 3 })
    const doctor = JSON.parse((await runCli(['doctor', moe, '-o', 'json'])).stdout) as Record<string, unknown>
    expect(doctor).toHaveProperty('hardware.io')
  })

  test('plan, inspect and doctor speak to people', async () => {
    expect((await runCli(['plan', moe, '--memory', '16MiB'])).stdout).toMatch(/floor/)
    expect((await runCli(['inspect', moe])).stdout).toMatch(/qwen3moe/)
    expect((await runCli(['inspect', moe, 'tensors'])).stdout).toMatch(/blk\.0\.attn_q\.weight/)
    expect((await runCli(['doctor'])).stdout).toMatch(/uring/)
  })

  test('plan below the floor says so with exit code 4', async () => {
    expect((await runCli(['plan', moe, '--memory', '1MiB'])).code).toBe(4)
  })
})
