// What could break: what a person at a terminal meets: the prompt, Ctrl-C, slash commands, errors in mid-conversation, the end.
// How we notice: the program runs on a real pseudo-terminal and is typed at; exit codes and what is shown are compared.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { modelPath, runCli } from './support/run-cli.js'
import { ctrlC, ctrlD, prompt, startTerminal, terminalObstacle } from './support/terminal.js'

const model = modelPath('fable-moe-q8_0.gguf')
const chat = (...flags: string[]): string[] => ['chat', model, '--memory', '16MiB', '--chat-template', 'chatml', '--seed', '1', '-n', '12', ...flags]
const folder = mkdtempSync(join(tmpdir(), 'hypura-chat-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const obstacle = terminalObstacle()
if (obstacle !== undefined) console.warn(`skipped: ${obstacle}`)

describe.skipIf(obstacle !== undefined)('a conversation on a terminal', () => {
  test('answers, shows figures, and every slash command does its work', async () => {
    await using terminal = startTerminal(chat())
    await terminal.waitFor('/? for help')
    await terminal.waitFor(prompt)
    expect(await terminal.say('Hello there', prompt)).toMatch(/\n.+[^]*\[12 tok · .* · length\]\n/)
    expect(await terminal.say('/help', prompt)).toMatch(/\/regen[^]*\/bye|\/bye[^]*\/regen/)
    expect(await terminal.say('/hlep', prompt)).toContain('unknown command /hlep, did you mean /help?')
    expect(await terminal.say('/set temp 0', prompt)).not.toContain('error')
    expect(await terminal.say('/set temp hot', prompt)).toContain('error: /set temp: "hot" is not taken. It must be a number from 0 to 1000.')
    expect(await terminal.say('/set tepm 1', prompt)).toContain('did you mean temp?')
    expect(await terminal.say('/show parameters', prompt)).toMatch(/temp: 0\n[^]*top-k: 40\n/)
    const first = await terminal.say('/regen', prompt)
    expect(first).toMatch(/12 tok/)
    const answerOf = (shown: string): string => shown.split('\n')[1]!
    expect(answerOf(await terminal.say('/regen', prompt))).toBe(answerOf(first)) // greedy by now
    expect(await terminal.say('/stats', prompt)).toMatch(/\[12 tok/)
    expect(await terminal.say('/show info', prompt)).toMatch(/context: [1-9]\d* of \d+ positions used/)
    await terminal.say('/set system Be short.', prompt)
    expect(await terminal.say('/show system', prompt)).toContain('Be short.')
    expect(await terminal.say('/show template', prompt)).toContain('<|im_start|>')
    expect(await terminal.say('/show nothing', prompt)).toContain('/show knows')
    await terminal.say('/clear', prompt)
    expect(await terminal.say('/show info', prompt)).toContain('context: 0 of')
    expect(await terminal.say('/regen', prompt)).toContain('nothing to answer again')
    terminal.type('/bye\r')
    expect(await terminal.ended).toBe(0)
    expect(terminal.text).not.toMatch(/\n\s+at /)
  })

  test('takes messages of several lines and from files', async () => {
    const file = join(folder, 'message with spaces.txt')
    writeFileSync(file, 'The old king\n')
    await using terminal = startTerminal(chat())
    await terminal.waitFor(prompt)
    expect(await terminal.say('"""one', /\.\.\. $/)).not.toContain('tok/s')
    expect(await terminal.say('two"""', prompt)).toMatch(/12 tok/)
    expect(await terminal.say(`/read ${file}`, prompt)).toMatch(/12 tok/)
    expect(await terminal.say('/read /nowhere/at/all', prompt)).toMatch(/error: cannot read .*ENOENT/)
    terminal.type(ctrlD)
    expect(await terminal.ended).toBe(0)
    expect(terminal.text).toMatch(/>>> \n$/)
  })

  test('Ctrl-C stops the answer and keeps the conversation; at the prompt the second one leaves', async () => {
    await using terminal = startTerminal(chat('-n', '900', '--ignore-eos', '-c', '1024'))
    await terminal.waitFor(prompt)
    await terminal.say('Tell me a story', /\n.{20}/)
    terminal.type(ctrlC)
    expect(await terminal.waitFor(prompt)).toContain('aborted')
    expect(await terminal.say('/show info', prompt)).toMatch(/context: [1-9]/)
    terminal.type('half a messa')
    await terminal.waitFor('messa')
    terminal.type(ctrlC)
    await terminal.waitFor(prompt) // thrown away, no hint yet
    terminal.type(ctrlC)
    await terminal.waitFor('again to leave')
    terminal.type(ctrlC)
    expect(await terminal.ended).toBe(130)
  })

  test('Ctrl-C inside a message of several lines gives it up', async () => {
    await using terminal = startTerminal(chat())
    await terminal.waitFor(prompt)
    await terminal.say('"""one', /\.\.\. $/)
    terminal.type(ctrlC)
    await terminal.waitFor(prompt)
    expect(await terminal.say('Hello', prompt)).toMatch(/12 tok/)
    terminal.type('/quit\r')
    expect(await terminal.ended).toBe(0)
  })

  test('a conversation that outgrows the context is told so and goes on', async () => {
    await using terminal = startTerminal(chat('-c', '96'))
    await terminal.waitFor(prompt)
    let shown = ''
    for (let i = 0; i < 12 && !shown.includes('error'); i++) shown = await terminal.say('And what happened to the old king after that?', prompt)
    expect(shown).toMatch(/error: .*needs \d+ positions, the context holds 96.*\/clear/)
    await terminal.say('/clear', prompt)
    expect(await terminal.say('Hello', prompt)).toMatch(/12 tok/)
    terminal.type('/bye\r')
    expect(await terminal.ended).toBe(0)
  })

  test('run without a prompt opens one; lines are continued where there is no template', async () => {
    await using terminal = startTerminal(['run', model, '--memory', '16MiB', '-n', '8'])
    await terminal.waitFor('no chat template: each line is continued as it is')
    await terminal.waitFor(prompt)
    expect(await terminal.say('Once upon a time', prompt)).toMatch(/8 tok/)
    terminal.type('/exit\r')
    expect(await terminal.ended).toBe(0)
  })
})

describe.skipIf(obstacle !== undefined)('what moves on a terminal', () => {
  const long = join(folder, 'long.txt')
  writeFileSync(long, 'Once upon a time there was an old king. '.repeat(90))
  const run = ['run', modelPath('fable-dense-f16.gguf'), '--memory', '16MiB', '-c', '1024', '-n', '4', '-b', '16', '-f', long]

  test('a bar while a long prompt is read, gone afterwards; stdout holds text only', async () => {
    const out = join(folder, 'out.txt')
    await using terminal = startTerminal(run, { redirect: `>'${out}'` })
    expect(await terminal.ended).toBe(0)
    expect(terminal.raw).toMatch(/reading the prompt █*░* +\d+ % +\d+ of \d+ tokens/)
    expect(terminal.raw).toContain('\x1b[2K')
    expect(terminal.raw).toContain('\x1b[2m') // dim
    expect(readFileSync(out, 'utf8')).not.toMatch(/[\x00-\x09\x0b-\x1f]|mode:|tok\/s/)
  })

  test.each([['TERM', 'dumb', false], ['CI', '1', false], ['NO_COLOR', '1', true]] as const)('%s=%s is honoured', async (name, value, moves) => {
    await using terminal = startTerminal(run, { env: { [name]: value } })
    expect(await terminal.ended).toBe(0)
    expect(terminal.raw.includes('░')).toBe(moves)
    expect(terminal.raw).not.toContain('\x1b[2m')
  })
})

test('piped lines are one message each', async () => {
  const { code, stdout, stderr } = await runCli(chat(), { input: 'hi\nthere\n' })
  expect(code).toBe(0)
  expect(stderr.match(/12 tok/g)).toHaveLength(2)
  expect(stdout).not.toContain('>>>')
  expect(stderr).not.toContain('\x1b')
})

test('piped lines that outgrow the context end with an error and exit code 1', async () => {
  const { code, stderr } = await runCli(chat('-c', '64'), { input: 'And what happened to the old king after that?\n'.repeat(9) })
  expect(code).toBe(1)
  expect(stderr).toMatch(/error: .*the context holds 64/)
  expect(stderr).toContain('ERR_HYPURA_CONTEXT_OVERFLOW')
})
