// What could break: a signal in the middle of loading or reading a prompt hangs or prints a stack; a full disk or a closed
// pipe looks like a bug; an error leaves more than its sentence behind.
// How we notice: signals are sent at each stage of a slow run, and exit code, time and every line of stderr are looked at.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cliPath, type CliResult, modelPath, runCli } from './support/run-cli.js'
import { writeSparseModel } from './support/sparse-model.js'
import { ctrlC, startTerminal, terminalObstacle } from './support/terminal.js'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'hypura-endings-')))
const big = join(folder, 'big.gguf')
const slow = [big, '--memory', '1GiB', '--io', 'pread', '--io-depth', '1', '-c', '512']
beforeAll(() => writeSparseModel(big, 70))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Sends the signal as soon as the big file is open, which is while its header or its weights are read, and measures from there. */
async function signalledWhileLoading(args: readonly string[], signal: NodeJS.Signals): Promise<CliResult> {
  let sent = 0
  const child = spawn(process.execPath, [cliPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CI: '1', NO_COLOR: '1' } })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const watch = setInterval(() => {
    if (!hasOpen(child.pid!, big)) return
    clearInterval(watch)
    sent = performance.now()
    child.kill(signal)
  }, 2)
  const [code, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => child.on('close', (...ended) => resolve(ended)))
  clearInterval(watch)
  return { code, signal: by, stdout, stderr, ms: performance.now() - sent }
}

function hasOpen(pid: number, path: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === path)
  } catch {
    return false // a descriptor, or the process, that went away meanwhile
  }
}

describe('signals', () => {
  test.each([['SIGINT', 130], ['SIGTERM', 143]] as const)('%s while a big model is loaded ends with %i, soon and without a stack', async (signal, expected) => {
    const { code, stdout, stderr, ms } = await signalledWhileLoading(['run', ...slow, '-p', 'x'], signal)
    expect({ code, stdout, stderr }).toEqual({ code: expected, stdout: '', stderr: 'interrupted\n' })
    expect(ms).toBeLessThan(2000)
  })

  test.each([['chat'], ['logits']])('%s is interrupted while loading as well', async (command) => {
    const { code, stderr } = await signalledWhileLoading([command, ...slow, ...(command === 'chat' ? [] : ['-p', 'x'])], 'SIGINT')
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'interrupted\n' })
  })

  test('SIGINT while the prompt is read ends with 130 and keeps the figures', async () => {
    const { code, stderr, ms } = await runCli(['run', ...slow, '-n', '4', '-p', 'word '.repeat(60)], { interrupt: { signal: 'SIGINT', when: (_, shown) => shown.includes('mode:') } })
    expect(code).toBe(130)
    expect(stderr).toContain('aborted')
    expect(ms).toBeLessThan(15_000)
  })

  test('SIGTERM in a conversation ends it with 143', async () => {
    const { code, stderr } = await runCli(['chat', modelPath('fable-moe-q8_0.gguf'), '--chat-template', 'chatml', '-n', '900', '--ignore-eos'],
      { input: 'Hello\n'.repeat(3), interrupt: { signal: 'SIGTERM', when: (shown) => shown.length > 20 } })
    expect(code).toBe(143)
    expect(stderr.match(/aborted/g)).toHaveLength(1) // the messages that waited are not answered
  })

  const obstacle = terminalObstacle()
  test.skipIf(obstacle !== undefined)('a bar moves on a terminal while a model is loaded, and Ctrl-C ends it there', async () => {
    await using terminal = startTerminal(['run', ...slow, '-p', 'x'])
    await terminal.waitFor(/loading █*░* +\d+ % +[\d.]+ .?iB of [\d.]+ .iB/)
    terminal.type(ctrlC)
    expect(await terminal.ended).toBe(130)
    expect(terminal.text).toMatch(/interrupted\n$|aborted/) // aborted: a fast drive was done by then
  })
})

describe('streams that fail', () => {
  const run = `"${process.execPath}" "${cliPath}" run "${modelPath('fable-dense-q4_k_m.gguf')}" -n 200 --ignore-eos --seed 1 -p Once`
  const shell = (script: string): Promise<{ code: number | null; stderr: string }> => new Promise((resolve) => {
    const child = spawn('/bin/bash', ['-c', script], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, CI: '1', NO_COLOR: '1' } })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('close', (code) => resolve({ code, stderr }))
  })

  test.skipIf(!existsSync('/dev/full'))('a full disk is an error of one line', async () => {
    const { code, stderr } = await shell(`${run} > /dev/full`)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: stdout cannot be written: ENOSPC.*\n/m)
    expect(stderr).not.toMatch(/\n\s+at /)
  })

  test('a reader that leaves is a quiet end with code 0, on stderr too', async () => {
    expect(await shell(`${run} 2>/dev/null | head -c 10 >/dev/null; exit "\${PIPESTATUS[0]}"`)).toEqual({ code: 0, stderr: '' })
    expect((await shell(`${run} 2>&1 >/dev/null | true; exit "\${PIPESTATUS[0]}"`)).code).toBe(0)
  })
})

test('an unexpected error is one line as well, and HYPURA_DEBUG adds the stack', async () => {
  const script = `import { reportUncaught } from ${JSON.stringify(join(cliPath, '../report-error.js'))}; reportUncaught(); setTimeout(() => { throw new TypeError('something nobody foresaw') })`
  const run = (env: Record<string, string>): Promise<{ code: number | null; stderr: string }> => new Promise((resolve) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, NO_COLOR: '1', ...env } })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('close', (code) => resolve({ code, stderr }))
  })
  const plain = await run({})
  expect(plain.code).toBe(1)
  expect(plain.stderr).toBe('error: something nobody foresaw\n  unexpected: please report it with what HYPURA_DEBUG=1 adds here\n')
  expect((await run({ HYPURA_DEBUG: '1' })).stderr).toMatch(/\n\s+at /)
})
