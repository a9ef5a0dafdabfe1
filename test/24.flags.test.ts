// What could break: a flag that is parsed and then ignored, a wrong value that is noticed after minutes of loading or not at
// all, a path that only works when it is plain.
// How we notice: the list of flags is read from the help text, and each one must have a case here that shows its effect.
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { makeModel, partPath } from '../scripts/make-model.js'
import { type CliOptions, modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-flags-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const moe = modelPath('fable-moe-q8_0.gguf')
const draft = modelPath('fable-draft-q8_0.gguf')

interface Shown {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}
const run = (model: string, args: readonly string[], options?: CliOptions): Promise<Shown> => runCli(['run', model, ...args], options)
const greedy = ['-p', 'Once upon a time', '--temp', '0', '-n', '24']
const tokensOf = ({ stderr }: Shown): number => Number(/\[(\d+) tok/.exec(stderr)?.[1])
const texts = new Map<string, Promise<string>>()
/** What a run prints; remembered, for runs that are the yardstick of several flags. */
function text(...args: string[]): Promise<string> {
  const key = args.join('\0')
  if (!texts.has(key)) texts.set(key, run(draft, args).then(({ stdout }) => stdout))
  return texts.get(key)!
}
const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

/** By flag: what shows that it works. Flags of the same effect share a case. */
const effects: Readonly<Record<string, () => Promise<void>>> = {
  '--prompt': async () => expect(await text(...greedy)).toBe(await text('Once upon a time', '--temp', '0', '-n', '24')),
  '--file': async () => {
    const whole = await text('-p', 'Once upon\n\na time', '--temp', '0', '-n', '8')
    expect(await text('-f', file('p.txt', 'Once upon'), '-p', 'a time', '--temp', '0', '-n', '8')).toBe(whole)
    expect((await run(draft, ['-f', '-', '-p', 'a time', '--temp', '0', '-n', '8'], { input: 'Once upon\n' })).stdout).toBe(whole)
  },
  '--system': async () => {
    const path = join(folder, 'system.jsonl')
    const chat = ['-p', 'x', '-n', '1', '--chat-template', 'chatml', '--stats-file', path]
    await run(draft, chat)
    await run(draft, [...chat, '--system', 'A long message for the system.'])
    const [without, with_] = readFileSync(path, 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { prompt_tokens: number }).prompt_tokens)
    expect(with_).toBeGreaterThan(without! + 5)
    expect((await run(draft, [...greedy, '--system', 'x'])).code).toBe(1) // there is no template that could hold it
  },
  '--raw': async () => expect(await text(...greedy, '--chat-template', 'chatml', '--raw')).toBe(await text(...greedy)),
  '--chat-template': async () => {
    const plain = file('plain.jinja', '{{ messages[0].content }}')
    expect(await text(...greedy, '--chat-template', plain)).toBe(await text(...greedy))
    expect(await text(...greedy, '--chat-template', 'chatml')).not.toBe(await text(...greedy))
    expect((await run(draft, [...greedy, '--chat-template', 'chatlm'])).code).toBe(2)
  },
  '--no-footer': async () => expect((await run(draft, [...greedy, '--no-footer'])).stderr).not.toContain('tok/s'),
  '--stats-file': async () => {
    const path = join(folder, 'stats.jsonl')
    await run(draft, [...greedy, '--stats-file', path])
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ tokens: 24 })
    const refused = await run(draft, [...greedy, '--stats-file', '/nowhere/stats.jsonl'])
    expect(refused).toMatchObject({ code: 2, stdout: '' }) // before the work, not after it
    expect(refused.stderr).not.toContain('mode:')
  },
  '--memory': async () => {
    const mode = async (size: string): Promise<string> => /mode: (.*)/.exec((await run(moe, ['-p', 'x', '-n', '1', '--memory', size])).stderr)?.[1] ?? ''
    for (const size of ['16MiB', '16mib', '16.0 MiB', '16777216']) expect(await mode(size)).toMatch(/^stream .*budget 16\.0 MiB/)
    for (const size of ['auto', '50%', '2GB']) expect(await mode(size)).toMatch(/^resident/)
  },
  '--ctx-size': async () => expect((await run(draft, ['-p', 'Once', '-c', '48', '-n', '-1', '--ignore-eos'])).stderr).toMatch(/context 48\n[^]*context-full/),
  '--kv-type': async () => {
    const path = join(folder, 'kv.jsonl')
    const shown = [await run(draft, [...greedy, '--kv-type', 'q8_0', '--stats-file', path]), await run(draft, [...greedy, '--kv-type', 'f16', '--stats-file', path])]
    expect(shown.map(({ stderr }) => stderr.includes('(KV q8_0)'))).toEqual([true, false])
    expect(shown[1]!.stdout).toBe(await text(...greedy))
    expect(readFileSync(path, 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { kv_type: string }).kv_type)).toEqual(['q8_0', 'f16'])
  },
  '--batch-size': async () => expect(await text(...greedy, '-b', '1')).toBe(await text(...greedy)),
  '--threads': async () => expect((await run(draft, ['-p', 'x', '-n', '1', '-t', '1'])).stderr).toContain('1 thread ·'),
  '--mode': async () => {
    expect((await run(draft, ['-p', 'x', '-n', '1', '--memory', '6MiB', '--mode', 'stream'])).stderr).toContain('mode: stream')
    expect((await run(moe, ['-p', 'x', '-n', '1', '--memory', '16MiB', '--mode', 'resident'])).code).toBe(4)
    expect((await run(moe, ['-p', 'x', '-n', '1', '--memory', '16MiB', '--mode', 'bare'])).code).toBe(4)
    expect((await run(moe, ['-p', 'x', '-n', '1', '--memory', '16MiB', '--mode', 'mmap'])).stderr).toMatch(/mode: mmap .*left to the page cache[^]*baseline/)
  },
  '--io': async () => {
    for (const name of ['pread', 'buffered']) expect((await run(draft, ['-p', 'x', '-n', '1', '--io', name])).stderr).toMatch(new RegExp(`· ${name}|buffered \\(\\S`))
  },
  // What it keeps shows only where memory runs short: 33.elastic.test.ts.
  '--no-elastic': async () => expect(await text(...greedy, '--no-elastic')).toBe(await text(...greedy)),
  '--tokenizer-pre': async () => {
    const path = join(folder, 'pre.jsonl')
    for (const pre of ['gpt-2', 'llama-bpe', 'deepseek-llm']) await run(draft, ['-p', "IT'S 12345678 o'clock\n\n\n  x", '-n', '1', '--tokenizer-pre', pre, '--stats-file', path])
    const counts = readFileSync(path, 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { prompt_tokens: number }).prompt_tokens)
    expect(new Set(counts).size).toBeGreaterThan(1)
    expect(await run(draft, [...greedy, '--tokenizer-pre', 'gpt-3'])).toMatchObject({ code: 3, stdout: '' })
  },
  '--io-depth': async () => expect(await text(...greedy, '--io-depth', '1')).toBe(await text(...greedy)),
  '--mirror': async () => {
    const copies = ['a.gguf', 'b.gguf'].map((name) => join(folder, name))
    for (const copy of copies) copyFileSync(draft, copy)
    const shown = await run(draft, [...greedy, ...copies.flatMap((copy) => ['--mirror', copy])])
    expect(shown.stdout).toBe(await text(...greedy))
    expect(shown.stderr).toContain('3 copies on ')
    expect((await run(draft, [...greedy, '--mirror', moe])).code).toBe(3)
  },
  '--eviction': async () => {
    const of = (policy: string): Promise<string> => run(moe, [...greedy, '--memory', '12MiB', '--eviction', policy]).then(({ stdout }) => stdout)
    expect(await of('recency')).toBe(await of('cost-aware')) // placement never changes a token
  },
  '--guess': async () => {
    const of = (mode: string): Promise<string> => run(moe, [...greedy, '--memory', '12MiB', '--guess', mode]).then(({ stdout }) => stdout)
    expect(await of('prefetch')).toBe(await of('off')) // nor does reading ahead
  },
  '--guess-source': async () => {
    const of = (source: string): Promise<Shown> => run(moe, [...greedy, '--memory', '12MiB', '--guess', 'prefetch', '--guess-source', source])
    const [router, learnt] = [await of('router'), await of('co-activation')]
    expect(learnt.stdout).toBe(router.stdout)
    for (const shown of [router, learnt]) expect(shown.stderr).toMatch(/ · guesses (off|router|co-activation) · /)
    expect(router.stderr).not.toContain('guesses co-activation')
    expect(learnt.stderr).not.toContain('guesses router')
  },
  '--predict': async () => {
    for (const flag of ['-n', '--predict', '--n-predict', '--max-tokens']) expect(tokensOf(await run(draft, ['-p', 'Once', '--ignore-eos', flag, '5']))).toBe(5)
  },
  '--temp': async () => expect(await text('-p', 'Once', '-n', '24', '--temp', '3', '--top-k', '0', '--top-p', '1', '--min-p', '0', '--seed', '1')).not.toBe(await text('-p', 'Once', '-n', '24', '--temp', '0')),
  '--top-k': async () => expect(await text('-p', 'Once', '-n', '24', '--temp', '2', '--top-k', '1', '--seed', '1')).toBe(await text('-p', 'Once', '-n', '24', '--temp', '0')),
  '--top-p': async () => expect(await text('-p', 'Once', '-n', '24', '--top-p', '0.000001', '--seed', '1')).toBe(await text('-p', 'Once', '-n', '24', '--temp', '0')),
  '--min-p': async () => expect(await text('-p', 'Once', '-n', '24', '--min-p', '1', '--seed', '1')).toBe(await text('-p', 'Once', '-n', '24', '--temp', '0')),
  '--repeat-penalty': async () => expect(await text(...greedy, '--repeat-penalty', '3')).not.toBe(await text(...greedy)),
  '--repeat-last-n': async () => expect(await text(...greedy, '--repeat-penalty', '3', '--repeat-last-n', '0')).toBe(await text(...greedy)),
  '--frequency-penalty': async () => expect(await text(...greedy, '--frequency-penalty', '5')).not.toBe(await text(...greedy)),
  '--presence-penalty': async () => expect(await text(...greedy, '--presence-penalty', '20')).not.toBe(await text(...greedy)),
  '--seed': async () => {
    const shown = await run(draft, ['-p', 'Once', '-n', '8'])
    const seed = /seed (\d+)/.exec(shown.stderr)![1]!
    expect(await text('-p', 'Once', '-n', '8', '-s', seed)).toBe(shown.stdout) // a printed seed brings the text back
  },
  '--stop': async () => {
    const full = await text(...greedy)
    const [early, late] = [full.slice(6, 10), full.slice(20, 26)]
    const shown = await run(draft, [...greedy, '--stop', late, '--stop', early])
    expect(shown.stdout.trimEnd()).toBe(full.slice(0, full.indexOf(early)).trimEnd())
    expect(shown.stderr).toContain('stop-string')
  },
  '--ignore-eos': async () => expect(tokensOf(await run(draft, ['-p', 'The end.', '--seed', '1', '-n', '300', '--ignore-eos']))).toBe(300),
}

describe('flags of run', async () => {
  const { stdout: help } = await runCli(['run', '--help'])
  const flags = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag!).filter((flag) => flag !== '--help')

  test('every flag that help names has a case here', () => expect(flags.toSorted()).toEqual(Object.keys(effects).toSorted()))
  test.each(Object.keys(effects))('%s', (flag) => effects[flag]!())
  test('help ends with examples and fits a terminal', () => {
    expect(help).toMatch(/Examples:\n {2}hypura run /)
    expect(Math.max(...help.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(100)
  })
})

test.each([
  ['--memory', 'lots', 'Write 16GiB'], ['--memory', '16G', 'Did you mean "16GiB"?'], ['--memory', '120%', 'Did you mean "100%"?'],
  ['-n', '0', '-1'], ['-n', '1e3', 'whole number'], ['--temp', 'hot', 'number from 0 to 1000'], ['--temp', '-1', 'number from 0'], ['--top-p', '2', 'to 1'], ['--top-p', '0', 'from 0.000001'],
  ['-c', '0', 'from 1'], ['--kv-type', 'q4_0', 'f16, q8_0'], ['-b', '513', '1 to 512'], ['-t', '0', 'from 1'], ['--io-depth', '65', '1 to 64'], ['--seed', '-1', 'from 0'], ['--stop', '', '1 to 256'],
  ['--mode', 'paged', 'auto, resident, stream, mmap, bare'], ['--io', 'uringg', 'auto, uring, pread, buffered'], ['--eviction', 'lru', 'cost-aware'], ['--guess', 'always', 'prefetch'], ['--guess-source', 'oracle', 'auto, router, popular, previous-token, previous-layer, markov, co-activation'], ['--mirror', '', 'path'],
])('%s %j is refused with the name of the flag and advice, before anything is loaded', async (flag, value, advice) => {
  const { code, stdout, stderr } = await run(draft, ['-p', 'x', flag, value])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr.split('\n')[0]).toContain(flag)
  expect(stderr.split('\n')[0]).toContain(advice)
  expect(stderr).not.toContain('mode:')
})

test.each([[['run', draft, '--tempp', '1', '-p', 'x'], '--temp'], [['rnu'], 'run'], [['inspect', draft, 'tensor'], 'tensors']] as const)('%j gets a suggestion', async (args, suggestion) => {
  const { code, stderr } = await runCli(args)
  expect(code).toBe(2)
  expect(stderr).toContain(suggestion)
})

test('an empty prompt from a pipe or a file is a usage error, text that is no UTF-8 too', async () => {
  expect(await run(draft, [], { input: '' })).toMatchObject({ code: 2, stdout: '' })
  expect((await run(draft, ['-f', file('empty.txt', '')])).stderr).toContain('the prompt is empty')
  writeFileSync(join(folder, 'latin1.txt'), Buffer.from([0x67, 0xfc, 0x6e]))
  expect((await run(draft, ['-f', join(folder, 'latin1.txt')])).stderr).toContain('is not UTF-8')
  expect((await run(draft, ['-p', 'a', 'b'])).stderr).toContain('given twice')
})

describe('paths', () => {
  const short = ['-p', 'Once', '--temp', '0', '-n', '6']

  test('with spaces and letters of any language, relative, through a link', async () => {
    const expected = await text(...short)
    const odd = join(folder, 'mein schönes 模型 🦙')
    mkdirSync(odd)
    const copy = join(odd, "it's $HOME.gguf")
    copyFileSync(draft, copy)
    const link = join(folder, 'link.gguf')
    symlinkSync(draft, link)
    for (const path of [copy, link]) expect((await run(path, short)).stdout).toBe(expected)
    expect((await run(relative(folder, copy), short, { cwd: folder })).stdout).toBe(expected)
    expect((await run(`./${relative(dirname(draft), draft)}`, short, { cwd: dirname(draft) })).stdout).toBe(expected)
  })

  test('any part of a split model is enough; a missing one is named', async () => {
    const out = join(folder, 'split.gguf')
    await makeModel({ out, layers: 2, width: 64, heads: 2, kvHeads: 1, headDim: 32, ff: 64, vocab: 512, context: 64, split: 3 })
    const parts = [0, 1, 2].map((no) => partPath(out, no, 3))
    const [first, ...others] = await Promise.all(parts.map((path) => run(path, ['-p', 'Once', '--temp', '0', '-n', '4'])))
    expect(first!.code, first!.stderr).toBe(0)
    for (const other of others) expect(other.stdout).toBe(first!.stdout)
    rmSync(parts[1]!)
    const missing = await run(parts[0]!, short)
    expect(missing.code).toBe(3)
    expect(missing.stderr).toMatch(/split-00002-of-00003\.gguf[^]*ERR_HYPURA_SHARD_MISSING/)
  })

  test.skipIf(!existsSync('/dev/shm'))('a model in memory works, and says how it is read', async () => {
    const copy = `/dev/shm/hypura-test-${process.pid}.gguf`
    copyFileSync(draft, copy)
    try {
      const shown = await run(copy, short)
      expect(shown.stdout).toBe(await text(...short))
      expect(shown.stderr).toMatch(/mode: \w+ · \w+ (?:direct|buffered \(.+\)) ·/)
    } finally {
      rmSync(copy)
    }
  })

  test.skipIf(process.getuid?.() === 0)('a file that may not be read is an error with its path', async () => {
    const secret = join(folder, 'secret.gguf')
    copyFileSync(draft, secret)
    chmodSync(secret, 0)
    const { code, stderr } = await run(secret, short)
    expect(code).toBe(5)
    expect(stderr).toContain('secret.gguf')
  })

  test('a reading through the page cache gives its reason', async () => {
    expect((await run(draft, ['-p', 'x', '-n', '1', '--io', 'buffered'])).stderr).toMatch(/buffered \(\S[^)]*\)/)
  })
})
