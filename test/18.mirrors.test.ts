// What could break: a mirror moves a logit, because its bytes come late or twice, because it fails, or because it is changed
// while it is read.
// How we notice: one SHA-256 of the logits for any number of mirrors, any backend, any fault and any change in mid-run; and
// the counters must show that each copy gave its part. The files of this test lie on one drive; the engine is told that each
// has a drive of its own, since copies on one drive are read only where the first fails.
import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { loadModel, type LoadOptions } from '../ts/engine/index.js'
import type * as drive from '../ts/machine/drive.js'
import { logitsHash, testTokens } from './support/logits-hash.js'
import { modelPath } from './support/run-cli.js'

vi.mock('../ts/machine/drive.js', async (original) => ({
  ...await original<typeof drive>(),
  driveOf: (path: string) => ({ name: path, kind: 'disk', devices: [path] }),
}))

const folder = mkdtempSync(join(tmpdir(), 'hypura-mirrors-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const moe = modelPath('fable-moe-q4_k_m.gguf')
const streaming = { memory: '9MiB', batchSize: 4, threads: 2 } as const
const positions = 32

let copies = 0
function copyOf(path: string): string {
  const copy = join(folder, `${copies++}.gguf`)
  copyFileSync(path, copy)
  return copy
}
function overwrite(path: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, Buffer.alloc(statSync(path).size, 0x5a))
  closeSync(fd)
}

let mirrors: string[]
let expected: string
beforeAll(async () => {
  mirrors = [copyOf(moe), copyOf(moe), copyOf(moe)]
  const run = await logitsHash(moe, { ...streaming, positions })
  expect(run.mode).toBe('stream')
  expected = run.sha256
})

describe('one hash of the logits', () => {
  const hashOf = async (count: number, options: LoadOptions = {}): Promise<string> =>
    (await logitsHash(moe, { ...streaming, positions, mirrors: mirrors.slice(0, count), ...options })).sha256

  test.each([0, 1, 3].flatMap((count) => ['uring', 'pread', 'buffered'].map((backend) => [count, backend] as const)))('%i mirrors, %s', async (count, backend) => {
    expect(await hashOf(count, { io: { backend: backend as 'uring' } })).toBe(expected)
  })
  test('and everything in memory', async () => expect(await hashOf(3, { memory: '2GiB', batchSize: 256 })).toBe(expected))

  // A copy's reads that compare it come first, 22 to 30 here, and must pass; so lasting faults begin behind them.
  const passing = [
    'eio:every=7@1:forever:1', 'eio:after=40@1:forever', 'eio:after=40@0:forever', 'eio:after=40@1:forever;eio:after=60@2:forever', 'eof:after=40@2:forever', 'enomem:every=3@1:forever:2',
    'short:every=2@1:forever:3;reorder:every=3:forever:4;duplicate:every=4@2:forever:5', 'delay=3:every=2@1:forever:6',
  ]
  test.each(passing)('with %s', async (faults) => expect(await hashOf(3, { faults })).toBe(expected))

  test.each([0, 5, 15, 40])('with a mirror that is overwritten %i ms into the run, and one that is cut', async (ms) => {
    const [changed, cut] = [copyOf(moe), copyOf(moe)]
    await using model = await loadModel(moe, { ...streaming, contextLength: positions, mirrors: [changed, cut], faults: 'delay=1:every=3:forever' })
    const tokens = testTokens(model.description.spec.nVocab, positions)
    const rows = async (): Promise<Buffer> => {
      await using sequence = model.createSequence()
      const parts: Buffer[] = []
      await sequence.evaluate(tokens, (logits) => void parts.push(Buffer.from(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength))))
      return Buffer.concat(parts)
    }
    const before = await rows()
    const running = rows()
    await sleep(ms)
    overwrite(changed)
    truncateSync(cut, 8192)
    expect((await running).equals(before)).toBe(true)
    expect((await rows()).equals(before)).toBe(true)
    expect(model.driveShares().map(({ state }) => state)).toEqual(['healthy', 'dropped', 'dropped'])
    for (const path of [changed, cut]) expect(model.warnings.filter((text) => text.includes(path) && text.includes('not read any more'))).toHaveLength(1)
  })
})

test('every copy gives its part', async () => {
  await using model = await loadModel(moe, { ...streaming, contextLength: positions, mirrors })
  await using sequence = model.createSequence()
  await sequence.evaluate(testTokens(model.description.spec.nVocab, positions))
  const shares = model.driveShares()
  expect(shares.map(({ path }) => path)).toEqual([moe, ...mirrors])
  for (const { share, state, driveBytesPerSecond } of shares) {
    expect(state).toBe('healthy')
    expect(share).toBeGreaterThan(0.02)
    expect(driveBytesPerSecond).toBeGreaterThan(0)
  }
  expect(shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(model.stats().readBytes)
  expect(model.warnings).toEqual([])
})

describe('failing copies', () => {
  test('a mirror that fails is left, with one warning and its counters', async () => {
    await using model = await loadModel(moe, { ...streaming, contextLength: positions, mirrors: mirrors.slice(0, 1), faults: 'eio:after=40@1:forever' })
    await using sequence = model.createSequence()
    await sequence.evaluate(testTokens(model.description.spec.nVocab, positions))
    const [first, second] = model.driveShares()
    expect([first!.state, second!.state]).toEqual(['healthy', 'failing'])
    expect(second!.failures).toBeGreaterThanOrEqual(4)
    expect(model.warnings.filter((text) => text.includes('EIO at byte'))).toEqual([expect.stringContaining(mirrors[0]!)])
    expect(first!.share + second!.share).toBeCloseTo(1)
  })

  test('all copies failing is an I/O error, and the model loads anew', async () => {
    const run = logitsHash(moe, { ...streaming, positions, mirrors: mirrors.slice(0, 1), faults: 'eio:after=90:forever' })
    expect(await run.then(() => undefined, (error: unknown) => error)).toMatchObject({ code: 'ERR_HYPURA_IO' })
    expect((await logitsHash(moe, { ...streaming, positions, mirrors })).sha256).toBe(expected)
  })
})
