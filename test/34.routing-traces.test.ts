// What could break: the shipped eviction policy is no better than recency on routing that is real; traces in the repository are not what
// the model chooses; trace and simulate print what is not so, or take a file that is none.
// How we notice: held-out traces of the trained mixture are replayed at three budgets and compared with recency; one of them is
// recorded again; the commands run as a user starts them.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { checkoutRoot } from '../scripts/tidy.js'
import { habitsOf } from '../ts/engine/expert-habits.js'
import { loadModel, readTrace, simulate, type Trace } from '../ts/engine/index.js'
import { assumedDrive } from '../ts/prefetch/cost-model.js'
import { missesOfRecency } from '../ts/simulate/miss-ratio.js'
import { layoutOf, requestsOf } from '../ts/simulate/layout.js'
import { modelPath, runCli } from './support/run-cli.js'

const traces = join(checkoutRoot, 'test/traces')
const folder = mkdtempSync(join(tmpdir(), 'hypura-traces-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const moe = modelPath('fable-moe-q8_0.gguf')
const dense = modelPath('fable-draft-q8_0.gguf')

const named = (set: string): string[] => readdirSync(join(traces, set)).filter((name) => name.endsWith('.trace'))
const quarter = [0.25, 0.5, 0.75].map((share) => ({ kind: 'share' as const, share }))
const options = { memory: quarter, drive: assumedDrive, planEvery: 4, predictors: [] }

describe('on prompts that the policy was not tuned on', () => {
  const sums = quarter.map(() => ({ shipped: 0, recency: 0, belady: 0 }))

  // On one of six, at one of three budgets, it has 0.4 points less (0011): the means are the bar, and no trace may lose more than that.
  test.each(named('held-out'))('%s: the shipped policy does not lose to recency', async (name) => {
    const trace = await readTrace(join(traces, 'held-out', name))
    const { budgets, shippedPolicy } = simulate(trace, options)
    budgets.forEach(({ slots, policies }, i) => {
      const rate = (policy: string): number => policies.find((one) => one.name === policy)!.hitRate
      expect(rate(shippedPolicy), `${slots} slots`).toBeGreaterThan(rate('recency') - 0.005)
      sums[i]!.shipped += rate(shippedPolicy)
      sums[i]!.recency += rate('recency')
      sums[i]!.belady += rate('belady')
    })
  })

  test('it has more hits on the whole at a quarter, a half and three quarters of the experts', () => {
    const held = named('held-out').length
    for (const { shipped, recency, belady } of sums) {
      expect((shipped - recency) / held).toBeGreaterThan(0.02)
      expect(shipped).toBeLessThan(belady)
    }
  })
})

test('the curve from stack distances is nearly that of the pool', async () => {
  const trace = await readTrace(join(traces, 'held-out/captain.trace'))
  const requests = requestsOf(trace)
  const misses = missesOfRecency(requests, layoutOf(trace).blocks.count)
  const asked = requests.flat().length
  for (const { slots, policies } of simulate(trace, options).budgets) {
    expect(Math.abs(1 - misses[slots]! / asked - policies.find(({ name }) => name === 'recency')!.hitRate)).toBeLessThan(0.01)
  }
})

const choices = (trace: Trace): number[][] => Array.from({ length: trace.sweeps }, (_, sweep) =>
  [trace.positions(sweep), ...Array.from({ length: trace.model.nLayer - trace.model.nLayerDenseLead }, (__, layer) => [...trace.experts(sweep, layer)]).flat()])

test('a committed trace is what the model chooses, also when it is streamed, and no word of the text is in it', { timeout: 60_000 }, async () => {
  const committed = await readTrace(join(traces, 'held-out/minutes.trace'))
  for (const memory of ['1GiB', '12MiB']) {
    const out = join(folder, 'again.trace')
    const { code, stdout, stderr } = await runCli(['trace', moe, '-f', join(traces, 'held-out/minutes.txt'), '-b', '1', '-n', '1', '--memory', memory, '--out', out])
    expect(code, stderr).toBe(0)
    const summary = JSON.parse(stdout) as { sweeps: number; lost_events: number; skipped_sweeps: number }
    expect(summary).toMatchObject({ sweeps: committed.sweeps, lost_events: 0, skipped_sweeps: 0 })
    const again = await readTrace(out)
    expect(choices(again)).toEqual(choices(committed))
    expect(again.model.sha256).toBe(committed.model.sha256)
    expect(readFileSync(out).toString('latin1')).not.toContain('bridge')
  }
})

describe('refusals', () => {
  test('a dense model has nothing to record, and what is no trace is not written over', async () => {
    expect(await runCli(['trace', dense, '-p', 'x', '--out', join(folder, 'd.trace')])).toMatchObject({ code: 3 })
    expect(readdirSync(folder)).not.toContain('d.trace')
    const precious = join(folder, 'precious.gguf')
    writeFileSync(precious, 'GGUF and much more')
    const { code, stderr } = await runCli(['trace', moe, '-p', 'x', '--out', precious])
    expect(code).toBe(2)
    expect(stderr).toContain('is no trace')
    expect(readFileSync(precious, 'utf8')).toBe('GGUF and much more')
  })

  test('one recording at a time, and none while a sequence works', async () => {
    await using model = await loadModel(moe, { memory: '16MiB' })
    const recording = await model.recordRoutes(() => undefined)
    await expect(model.recordRoutes(() => undefined)).rejects.toMatchObject({ code: 'ERR_HYPURA_BUSY' })
    recording.end()
    expect((await model.recordRoutes(() => undefined)).end()).toMatchObject({ sweeps: 0 })
  })

  test('a writer that fails ends the recording with its error, and the next one works', async () => {
    await using model = await loadModel(moe, { memory: '16MiB' })
    await using sequence = model.createSequence()
    let pieces = 0
    const recording = await model.recordRoutes(() => {
      if (++pieces > 3) throw new Error('the disk is full')
    })
    await sequence.generate('Once', { maxTokens: 20, ignoreEndTokens: true })
    expect(() => recording.end()).toThrow('the disk is full')
    expect((await model.recordRoutes(() => undefined)).end()).toMatchObject({ lostEvents: 0 })
  })
})

test('the next run begins with a plan of what the one before learnt, says the same, and survives a broken memory', async () => {
  const state = join(folder, 'state')
  const run = async (): Promise<{ text: string; plansBefore: number; warnings: readonly string[] }> => {
    vi.stubEnv('HYPURA_STATE_DIR', state)
    const model = await loadModel(moe, { memory: '12MiB' })
    const sequence = model.createSequence()
    const plansBefore = model.plansSubmitted
    const { text } = await sequence.generate('Once upon a time', { maxTokens: 60, temperature: 0, ignoreEndTokens: true })
    await model.close()
    return { text, plansBefore, warnings: model.warnings.filter((warning) => warning.includes(state)) }
  }
  try {
    const first = await run()
    expect(first).toMatchObject({ plansBefore: 0, warnings: [] })
    const [name] = readdirSync(join(state, 'experts'))
    // All of the run's 60 sweeps, decayed, not those that the planner had happened to see.
    expect(habitsOf(name!, 96).before!.sweeps).toBeGreaterThan(52)
    expect(await run()).toEqual({ ...first, plansBefore: 1 })
    writeFileSync(join(state, 'experts', name!), 'nonsense')
    const third = await run()
    expect(third).toMatchObject({ text: first.text, plansBefore: 0 })
    expect(third.warnings[0]).toContain('was ignored')
    expect(await run()).toEqual({ ...first, plansBefore: 1 })
  } finally {
    vi.unstubAllEnvs()
  }
})

describe('simulate', () => {
  const letter = join(traces, 'held-out/letter.trace')

  test('prints policies, guesses and what memory buys; the same as JSON', async () => {
    const { code, stdout } = await runCli(['simulate', letter, join(traces, 'held-out/question.trace'), '--memory', '25%,16MiB', '--predictors', 'markov,oracle'])
    expect(code).toBe(0)
    for (const word of ['cost-aware', 'belady (yardstick)', 'markov', 'what memory buys', '24 of 96 experts', 'sweeps of a prompt']) expect(stdout).toContain(word)
    const json = JSON.parse((await runCli(['simulate', letter, '--memory', '25%', '--predictors', 'oracle', '-o', 'json'])).stdout) as {
      schema: number
      traces: { budgets: { slots: number; policies: { name: string; share_of_belady: number }[] }[]; predictors: { name: string; at_used: { recall: number } }[] }[]
    }
    expect(json.schema).toBe(1)
    expect(json.traces[0]!.predictors[0]).toMatchObject({ name: 'oracle', at_used: { recall: 1 } })
    for (const { share_of_belady: share } of json.traces[0]!.budgets[0]!.policies) expect(share > 0 && share <= 1).toBe(true)
  })

  test.each([
    [['--memory', 'lots'], 2], [['--memory', 'auto'], 2], [['--memory', '1MiB'], 2], [['--predictors', 'markof'], 2], [['--disk', '0'], 2], [['--plan-every', '0'], 2], [['--admission', 'none'], 2],
  ] as const)('%j is refused', async (flags, expected) => {
    const { code, stdout, stderr } = await runCli(['simulate', letter, ...flags])
    expect({ code, stdout }, stderr).toEqual({ code: expected, stdout: '' })
    expect(stderr).toMatch(/error:/i)
  })

  test('what is no trace is refused with its place', async () => {
    for (const [path, code] of [[moe, 3], [join(folder, 'nowhere'), 3], [folder, 3]] as const) expect((await runCli(['simulate', path])).code, path).toBe(code)
  })
})
