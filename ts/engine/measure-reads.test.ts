// What could break: figures that do not belong together, a measurement that cannot be stopped or goes on after its time, a page
// cache that passes for a drive, an option that is ignored or answered with a riddle.
// How we notice: a real file through each backend, its figures against each other and against the system's own counter.
import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { measureReads, type MeasureReadsOptions, type ReadCell } from './measure-reads.js'
import { OffsetSet } from './read-offsets.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-measure-'))
const path = join(folder, 'weights')
const fileBytes = 40 * 2 ** 20
beforeAll(() => {
  const handle = openSync(path, 'w')
  const piece = Buffer.alloc(2 ** 20)
  for (let i = 0; i < fileBytes; i += piece.length) writeSync(handle, piece.fill(i / piece.length))
  fsyncSync(handle)
  closeSync(handle)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function cellOf(options: MeasureReadsOptions): Promise<ReadCell | undefined> {
  try {
    return await measureReads(path, options)
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_HYPURA_UNSUPPORTED') return undefined // io_uring is forbidden here
    throw error
  }
}

describe.each(['auto', 'uring', 'pread', 'buffered'] as const)('backend %s', (backend) => {
  test.each([[4096, 16], [65_536, 4], [4 * 2 ** 20, 8], [16 * 2 ** 20, 2]])('blocks of %i at depth %i give figures that agree', async (blockBytes, depth) => {
    const cell = await cellOf({ backend, blockBytes, depth, seconds: 0.2 })
    if (cell === undefined) return
    if (backend !== 'auto') expect(cell.backend).toBe(backend)
    expect(cell.direct).toBe(cell.directReason === '')
    if (backend === 'buffered') expect(cell.direct).toBe(false)
    expect(cell.bytes % blockBytes).toBe(0)
    expect(cell.bytes).toBeGreaterThan(0)
    expect(cell.bytes).toBeLessThanOrEqual(fileBytes)
    expect(cell.bytesPerSecond).toBeCloseTo(cell.bytes / cell.seconds, 0)
    const { p50, p99, max } = cell.latencyMs
    expect(0 < p50 && p50 <= p99 && p99 <= max && max <= cell.seconds * 1000 * (1 + 1e-9)).toBe(true)
    // Little's law: blocks on their way = rate x latency, never more than the depth.
    expect((cell.bytes / blockBytes / cell.seconds) * (p50 / 1000) * 0.5).toBeLessThanOrEqual(depth)
    expect(cell.cpuShare).toBeGreaterThanOrEqual(0)
    expect(cell.hugePageShare).toBeGreaterThanOrEqual(0)
    expect(cell.hugePageShare).toBeLessThanOrEqual(1)
    expect(cell.repeatedShare).toBe(0)
    // A direct read is a read of the drive, whatever the page cache holds.
    if (cell.direct && cell.osBytes !== undefined) expect(cell).toMatchObject({ cached: false, cacheServedShare: 0 })
  })
})

test('what the page cache serves is called cached', async () => {
  readFileSync(path) // its pages are in the cache now, as after a copy
  const cell = await cellOf({ backend: 'uring', direct: false, blockBytes: 65_536 })
  if (cell === undefined || cell.osBytes === undefined) return
  // Dropped before the measurement, unless somebody else keeps them: the counter and the mark must say the same.
  expect(cell.cached).toBe(cell.osBytes < 0.9 * cell.bytes)
})

test('time, bytes and the end of the file end it', async () => {
  expect((await measureReads(path, { blockBytes: 2 ** 20, bytesMax: 5 * 2 ** 20 }))!.bytes).toBe(5 * 2 ** 20)
  expect((await measureReads(path, { blockBytes: 2 ** 20, seconds: 60 }))!.bytes).toBe(fileBytes)
  const brief = await measureReads(path, { backend: 'pread', blockBytes: 4096, depth: 1, seconds: 0.05 })
  expect(brief.seconds).toBeLessThan(2)
})

test('a second measurement goes to other places, and says when there are none left', async () => {
  const avoid = new OffsetSet(fileBytes)
  const options = { blockBytes: 2 ** 20, bytesMax: 15 * 2 ** 20, avoid }
  const shares: number[] = []
  for (let i = 0; i < 4; i++) shares.push((await measureReads(path, options)).repeatedShare)
  expect(shares).toEqual([0, 0, 5 / 15, 1])
})

test('a file shorter than a block, and one that ends inside a sector, are read whole', async () => {
  const short = join(folder, 'short')
  writeFileSync(short, Buffer.alloc(9000, 1))
  expect(await measureReads(short)).toMatchObject({ bytes: 9000 })
  expect(await measureReads(short, { backend: 'buffered' })).toMatchObject({ bytes: 9000, direct: false })
})

test('an abort ends it at once, before and while it runs', async () => {
  const reason = new Error('enough')
  await expect(measureReads(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  const controller = new AbortController()
  const running = measureReads(path, { backend: 'pread', blockBytes: 4096, depth: 1, seconds: 100, signal: controller.signal })
  setTimeout(() => controller.abort(reason), 30)
  await expect(running).rejects.toBe(reason)
})

test('bad paths and bad options are typed errors', async () => {
  const empty = join(folder, 'empty')
  writeFileSync(empty, '')
  mkdirSync(join(folder, 'sub'))
  const cases: readonly (readonly [string, object, string])[] = [
    [join(folder, 'nowhere'), {}, 'ERR_HYPURA_NOT_FOUND'], [join(folder, 'sub'), {}, 'ERR_HYPURA_NOT_GGUF'], [empty, {}, 'ERR_HYPURA_INVALID_ARGUMENT'],
    ['/dev/zero', {}, 'ERR_HYPURA_NOT_GGUF'], ['', {}, 'ERR_HYPURA_INVALID_ARGUMENT'], [5 as never, {}, 'ERR_HYPURA_INVALID_ARGUMENT'],
    ...[{ blockBytes: 1000 }, { blockBytes: 6144 }, { blockBytes: 2 ** 25 }, { depth: 0 }, { depth: 65 }, { depth: 64, blockBytes: 16 * 2 ** 20 }, { seconds: 0 }, { backend: 'magic' },
      { backend: 'buffered', direct: true }, { seed: -1 }, { bytesMax: 0 }, { blokBytes: 4096 }, { avoid: {} }].map((options) => [path, options, 'ERR_HYPURA_INVALID_ARGUMENT'] as const),
  ]
  for (const [file, options, code] of cases) await expect(measureReads(file, options as MeasureReadsOptions), JSON.stringify([file, options])).rejects.toMatchObject({ code })
})

test('a file that becomes shorter in mid-measurement is an error with its path', async () => {
  const shrinking = join(folder, 'shrinking')
  writeFileSync(shrinking, Buffer.alloc(32 * 2 ** 20, 1))
  const running = measureReads(shrinking, { backend: 'buffered', blockBytes: 4096, depth: 1, seconds: 60 })
  setTimeout(() => truncateSync(shrinking, 0), 20)
  await expect(running).rejects.toMatchObject({ code: 'ERR_HYPURA_MODEL_CHANGED', message: expect.stringContaining('shrinking') })
})
