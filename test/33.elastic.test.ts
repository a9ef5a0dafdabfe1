// What could break: a resize moves a logit: memory that leaves under a kernel, a band read into a hole, an expert served from a
// slot that is gone. Or it comes too late, and the kernel ends the process whose limit was lowered.
// How we notice: random resizes at random token boundaries have the hash of logits of a resident run; and the program decodes in
// a real cgroup whose limit is halved under it.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeModel } from '../scripts/make-model.js'
import { type HypuraError, loadModel, type Model, planModel } from '../ts/engine/index.js'
import { cgroupObstacle, createMemoryGroup } from './support/cgroup.js'
import { logitsHash, testTokens } from './support/logits-hash.js'
import { modelPath, runCli } from './support/run-cli.js'

const positions = 40
const contextLength = 256

interface Resize {
  /** Before this position's row of logits is taken. */
  readonly at: number
  /** Of the way from the least budget to that of the load. */
  readonly share: number
  /** Wait until it is in force; else sweeps go on meanwhile, and a later one may replace it. */
  readonly waits: boolean
}
const anyResize: fc.Arbitrary<Resize> = fc.record({
  at: fc.nat(positions - 1),
  share: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
  waits: fc.boolean(),
})

/** Waiting happens between two calls of evaluate(): a sweep with logits ends only when its rows were taken. */
async function hashWith(model: Model, resizes: readonly Resize[], least: number, most: number): Promise<string> {
  await using sequence = model.createSequence()
  const hash = createHash('sha256')
  const tokens = testTokens(model.description.spec.nVocab, positions)
  const pending: Promise<number>[] = []
  const resizeAt = (position: number, waited: boolean): void => {
    for (const { share } of resizes.filter(({ at, waits }) => at === position && waits === waited)) pending.push(model.resize(Math.ceil(least + share * (most - least))))
  }
  const cuts = [...new Set(resizes.filter(({ waits }) => waits).map(({ at }) => at)), positions].toSorted((a, b) => a - b)
  let begin = 0
  for (const end of cuts) {
    if (end > begin) {
      await sequence.evaluate(tokens.slice(begin, end), (rows, first) => {
        hash.update(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
        resizeAt(first, false)
        const { placedBytes, budgetBytes } = model.stats()
        expect(placedBytes).toBeLessThanOrEqual(budgetBytes)
      })
    }
    resizeAt(end, true)
    await Promise.all(pending)
    begin = end
  }
  return hash.digest('hex')
}

/** The plan counts hulls by 4096 bytes; the drive's own alignment may make them smaller. */
function expectPlaced(model: Model): void {
  const { placedBytes } = model.stats()
  expect(placedBytes).toBeLessThanOrEqual(model.plan.chosen.total)
  expect(placedBytes).toBeGreaterThan(model.plan.chosen.total * 0.97)
}

describe.each(['fable-dense-q4_k_m.gguf', 'fable-moe-q8_0.gguf'])('%s', (name) => {
  const path = modelPath(name)
  let expected = ''
  beforeAll(async () => {
    expected = (await logitsHash(path, { memory: '128MiB', mode: 'resident', positions, contextLength, batchSize: 1 })).sha256
  })

  test.each(['resident', 'streamed'])('loaded %s, any resizes between any tokens: the same logits', async (how) => {
    const options = { contextLength, batchSize: 1, elastic: false }
    const { floor, resident } = await planModel(path, { ...options, memory: '128MiB' })
    const memory = how === 'resident' ? resident.total : Math.ceil(floor.total + 0.6 * (resident.total - floor.total))
    await using model = await loadModel(path, { ...options, memory })
    expect(model.plan.mode).toBe(how === 'resident' ? 'resident' : 'stream')
    const loaded = model.plan.chosen
    const error = await model.resize(1).catch((thrown: HypuraError) => thrown) as HypuraError
    const least = Number(error.details['floorBytes'])
    await model.resize(least)
    expectPlaced(model)
    expect(model.plan.mode).toBe('stream')
    await fc.assert(fc.asyncProperty(fc.array(anyResize, { minLength: 1, maxLength: 8 }), async (resizes) => {
      expect(await hashWith(model, resizes, least, memory)).toBe(expected)
    }), { numRuns: 12 })
    await model.resize(memory)
    expect(model.plan.chosen).toEqual(loaded)
    expectPlaced(model)
    const before = model.stats().missBytes
    expect(await hashWith(model, [], least, memory)).toBe(expected)
    if (how === 'resident' && model.plan.regions.poolSlots === 0) expect(model.stats().missBytes - before).toBeLessThan(2 ** 20) // rows alone: a band would be read 40 times
  }, 120_000)
})

describe('resize through the library', () => {
  const path = modelPath('fable-dense-q4_0.gguf')

  test('refuses what cannot be, and goes on', async () => {
    await using model = await loadModel(path, { memory: '32MiB', contextLength })
    await expect(model.resize('64KiB')).rejects.toMatchObject({ code: 'ERR_HYPURA_INSUFFICIENT_MEMORY' })
    await expect(model.resize('33MiB')).rejects.toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT' })
    await expect(model.resize('lots')).rejects.toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT' })
    expect(await model.resize('auto')).toBe(32 * 2 ** 20)
    await model.close()
    await expect(model.resize('auto')).rejects.toMatchObject({ code: 'ERR_HYPURA_DISPOSED' })
  })

  test.each(['mmap', 'bare'] as const)('mode %s has nothing to give, and says so', async (mode) => {
    await using model = await loadModel(path, { mode, memory: '64MiB', contextLength })
    await expect(model.resize('32MiB')).rejects.toMatchObject({ code: 'ERR_HYPURA_UNSUPPORTED' })
    await using sequence = model.createSequence()
    expect((await sequence.generate('Once', { maxTokens: 2, temperature: 0 })).tokens.length).toBeGreaterThan(0)
  })
})

const obstacle = cgroupObstacle()
if (obstacle !== undefined) console.warn(`skipped: ${obstacle}`)

describe.skipIf(obstacle !== undefined)('a limit that is halved while the program decodes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-elastic-'))
  const path = join(folder, 'model.gguf')
  const mib = 2 ** 20
  const tokensPath = join(folder, 'tokens.json')
  // Position by position, as a decode goes, and all logits instead of the text that they make.
  const args = ['logits', path, '--tokens', tokensPath, '-c', '256', '-b', '1']
  const hashIn = (stdout: string): string | undefined => /"sha256":\s*"(\w+)"/.exec(stdout)?.[1]
  let expected: string | undefined
  beforeAll(async () => {
    await makeModel({ preset: '1b', quant: 'q4_k_m', layers: 8, out: path, seed: 1 })
    writeFileSync(tokensPath, JSON.stringify(testTokens(32_000, 64)))
    expected = hashIn((await runCli([...args, '--memory', '1GiB', '--no-elastic'])).stdout)
    expect(expected).toHaveLength(64)
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function halved(limitMib: number, withinMs: number, ...more: string[]) {
    using group = createMemoryGroup(limitMib * mib)
    let lowered: Promise<boolean> | undefined
    const shown = await runCli([...args, ...more], {
      cgroup: group.path,
      watch: (_, stderr) => { if (stderr.includes('mode:')) lowered ??= group.lower(limitMib / 2 * mib, withinMs) },
    })
    return { ...shown, lowered: await lowered, oomKills: group.oomKills() }
  }

  test.each([['resident', 640], ['stream', 340]] as const)('--memory auto, loaded %s: the limit comes down, the tokens stay the same', async (mode, limitMib) => {
    const { code, stdout, stderr, lowered, oomKills } = await halved(limitMib, 30_000)
    expect(stderr).toMatch(new RegExp(`^mode: ${mode}`, 'm'))
    expect({ code, lowered, oomKills }).toEqual({ code: 0, lowered: true, oomKills: 0 })
    expect(stderr).toMatch(/^memory: shrank from .* \(others wait for memory\)/m)
    expect(hashIn(stdout)).toBe(expected)
  }, 90_000)

  test('--no-elastic keeps its memory, so that the limit cannot come down', async () => {
    const { code, stdout, stderr, lowered } = await halved(640, 200, '--no-elastic') // well before the process ends
    expect({ code, lowered }).toEqual({ code: 0, lowered: false })
    expect(stderr).not.toContain('memory:')
    expect(hashIn(stdout)).toBe(expected)
  }, 90_000)
})
