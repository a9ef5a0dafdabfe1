// What could break: a bad mirror is believed, or refused without its name and the place; a good one is left out, or said to make
// faster what it does not.
// How we notice: every kind of bad mirror must end in its code with path and byte, in the library and as an exit code; what is
// said of good ones is compared with where their files really lie.
import { closeSync, copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeModel, partPath } from '../scripts/make-model.js'
import { HypuraError, loadModel, type LoadProgress, planModel } from '../ts/engine/index.js'
import { logitsHash } from './support/logits-hash.js'
import { modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-bad-mirrors-'))
const inMemory = `/dev/shm/hypura-mirror-${process.pid}.gguf`
afterAll(() => [folder, inMemory].forEach((path) => rmSync(path, { recursive: true, force: true })))

const moe = modelPath('fable-moe-q4_k_m.gguf')
const draft = modelPath('fable-draft-q8_0.gguf')
const streaming = { memory: '9MiB', batchSize: 4, threads: 2 } as const

let copies = 0
function copyOf(path: string): string {
  const copy = join(folder, `${copies++}.gguf`)
  copyFileSync(path, copy)
  return copy
}
function flip(path: string, offset: number): void {
  const fd = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, offset)
  writeSync(fd, Buffer.from([byte[0]! ^ 1]), 0, 1, offset)
  closeSync(fd)
}
async function errorOf(promise: Promise<unknown>): Promise<HypuraError> {
  const error: unknown = await promise.then(() => new Error('it passed'), (reason: unknown) => reason)
  expect(error, String(error)).toBeInstanceOf(HypuraError)
  return error as HypuraError
}

let mirrors: string[]
beforeAll(() => void (mirrors = [copyOf(moe), copyOf(moe), copyOf(moe)]))

describe('bad mirrors', () => {
  const cases: readonly [name: string, make: () => string, code: string, facts: Readonly<Record<string, unknown>>][] = [
    ['absent', () => join(folder, 'absent.gguf'), 'ERR_HYPURA_NOT_FOUND', {}],
    ['a folder', () => folder, 'ERR_HYPURA_NOT_GGUF', {}],
    ['empty', () => (writeFileSync(join(folder, 'empty.gguf'), ''), join(folder, 'empty.gguf')), 'ERR_HYPURA_MIRROR_MISMATCH', { offset: 0 }],
    ['another model', () => draft, 'ERR_HYPURA_MIRROR_MISMATCH', { offset: Math.min(statSync(draft).size, statSync(moe).size) }],
    ['another first byte', () => { const path = copyOf(moe); flip(path, 0); return path }, 'ERR_HYPURA_MIRROR_MISMATCH', { offset: 0 }],
    ['two other bytes', () => { const path = copyOf(moe); flip(path, 5_000_001); flip(path, 4_100_000); return path }, 'ERR_HYPURA_MIRROR_MISMATCH', { offset: 4_100_000 }],
    ['another last byte', () => { const path = copyOf(moe); flip(path, statSync(moe).size - 1); return path }, 'ERR_HYPURA_MIRROR_MISMATCH', { offset: statSync(moe).size - 1 }],
  ]
  test.each(cases)('%s', async (_, make, code, facts) => {
    const path = make()
    const error = await errorOf(loadModel(moe, { ...streaming, mirrors: [mirrors[0]!, path] }))
    expect(error.code, error.message).toBe(code)
    expect(error.details).toMatchObject({ path, ...facts })
    expect(error.message).toContain(basename(path))
    const shown = await runCli(['run', moe, '-p', 'x', '-n', '1', '--mirror', path])
    expect(shown).toMatchObject({ code: 3, stdout: '' })
    expect(shown.stderr).toContain(basename(path))
    expect(shown.stderr).toContain(code)
  })

  test('one that cannot be read is an I/O error with its own name', async () => {
    const error = await errorOf(loadModel(moe, { ...streaming, mirrors: [mirrors[0]!, mirrors[1]!], faults: 'eio:all@2:forever' }))
    expect(error.code).toBe('ERR_HYPURA_IO')
    expect(error.details).toMatchObject({ path: mirrors[1] })
  })

  test.each(['mmap', 'bare'] as const)('mode %s takes none', async (mode) => {
    for (const use of [loadModel, planModel]) {
      const error = await errorOf(use(moe, { mode, mirrors }))
      expect([error.code, error.details['field']]).toEqual(['ERR_HYPURA_INVALID_ARGUMENT', 'mirrors'])
    }
    expect(await runCli(['run', moe, '-p', 'x', '-n', '1', '--mode', mode, '--mirror', mirrors[0]!])).toMatchObject({ code: 2, stdout: '' })
  })

  test('more than seven are refused', async () => {
    expect((await errorOf(loadModel(moe, { mirrors: Array<string>(8).fill(mirrors[0]!) }))).code).toBe('ERR_HYPURA_INVALID_ARGUMENT')
    expect((await runCli(['plan', moe, ...Array<string[]>(8).fill(['--mirror', mirrors[0]!]).flat()])).code).toBe(2)
  })
})

describe('what is said', () => {
  test('the very file adds nothing, under any name; a copy on the same drive makes nothing faster', async () => {
    const own = copyOf(draft)
    const [hard, soft] = [join(folder, 'hard.gguf'), join(folder, 'soft.gguf')]
    linkSync(own, hard)
    symlinkSync(own, soft)
    const other = copyOf(draft)
    const plan = await planModel(own, { mirrors: [own, hard, soft, other, other] })
    expect(plan.warnings.filter((text) => text.includes('the very file'))).toHaveLength(4)
    expect(plan.warnings.filter((text) => text.includes('same drive'))).toEqual([expect.stringContaining(other)])
    expect(plan.drives).toBe(1)
    await using model = await loadModel(own, { memory: '64MiB', mirrors: [hard, other] })
    expect(model.driveShares().map(({ path }) => path)).toEqual([own, other])
  })

  test.skipIf(!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(tmpdir()).dev)('two drives are counted, named and both read', async () => {
    copyFileSync(moe, inMemory)
    const run = ['run', copyOf(moe), '-p', 'Once upon a time', '--temp', '0', '-n', '12', '--memory', '9MiB']
    const path = join(folder, 'stats.jsonl')
    const [alone, both] = [await runCli(run), await runCli([...run, '--mirror', inMemory, '--stats-file', path])]
    expect(both).toMatchObject({ code: 0, stdout: alone.stdout })
    expect(alone.stderr).not.toContain('copies')
    expect(both.stderr).toMatch(/^mode: stream · [^·]* · 2 copies on 2 drives \(.* GB\/s \+ .*\/dev\/shm .* GB\/s\) · /m)
    expect(both.stderr).toMatch(/^\[.* · copies \S+ ?% \+ \S+ ?% · stall/m)
    const { copies: shares } = JSON.parse(readFileSync(path, 'utf8')) as { copies: { path: string; bytes_read: number }[] }
    expect(shares.map((share) => share.path)).toEqual([run[1], inMemory])
    for (const { bytes_read } of shares) expect(bytes_read).toBeGreaterThan(0)
    const [one, two] = [await runCli(['plan', moe, '--memory', '9MiB', '-o', 'json']), await runCli(['plan', moe, '--memory', '9MiB', '-o', 'json', '--mirror', inMemory])]
    expect([one, two].map(({ stdout }) => (JSON.parse(stdout) as { drives: number }).drives)).toEqual([1, 2])
  })
})

test('a split model has its mirror beside the part that is named', async () => {
  const out = join(folder, 'split.gguf')
  await makeModel({ out, layers: 2, width: 64, heads: 2, kvHeads: 1, headDim: 32, ff: 64, vocab: 512, context: 64, split: 3 })
  const parts = [0, 1, 2].map((no) => partPath(out, no, 3))
  const other = join(folder, 'other')
  mkdirSync(other)
  const copied = parts.map((path) => { const copy = join(other, path.slice(folder.length + 1)); copyFileSync(path, copy); return copy })
  const hash = async (named?: string): Promise<string> => (await logitsHash(parts[0]!, { positions: 8, ...(named === undefined ? {} : { mirrors: [named] }) })).sha256
  const alone = await hash()
  for (const named of copied) expect(await hash(named)).toBe(alone)
  expect((await errorOf(hash(copyOf(draft)))).code).toBe('ERR_HYPURA_MIRROR_MISMATCH')
  flip(copied[1]!, 100)
  expect((await errorOf(hash(copied[0]))).details).toMatchObject({ path: copied[1], offset: 100 })
  rmSync(copied[2]!)
  const missing = await errorOf(hash(copied[0]))
  expect([missing.code, missing.details['path']]).toEqual(['ERR_HYPURA_SHARD_MISSING', copied[2]])
})

describe('comparing', () => {
  const slow = { ...streaming, faults: 'delay=30:all:forever', io: { depth: 1 } } as const

  test('is reported, as the first phase', async () => {
    const seen: LoadProgress[] = []
    await (await loadModel(moe, { ...slow, mirrors, onLoadProgress: (progress) => void seen.push(progress) })).close()
    expect(seen[0]!.phase).toBe('compare')
    expect(seen.at(-1)).toMatchObject({ phase: 'load', fraction: 1 })
    seen.reduce((before, next) => {
      expect(next.fraction).toBeGreaterThanOrEqual(before.fraction)
      return next
    })
  })

  test('ends when it is aborted', async () => {
    for (const ms of [0, 20, 60]) {
      const controller = new AbortController()
      const reason = new Error('enough')
      setTimeout(() => controller.abort(reason), ms)
      await expect(loadModel(moe, { ...slow, mirrors, loadSignal: controller.signal })).rejects.toBe(reason)
    }
  })
})
