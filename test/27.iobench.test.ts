// What could break: iobench writes the state of whoever runs the tests, keeps a profile of something that is no drive, plans ignore
// what was measured, a flag does nothing, Ctrl-C waits for the sweep.
// How we notice: the program on a real file with a state folder of its own; doctor, plan and run are asked afterwards.
import { closeSync, copyFileSync, existsSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { driveOf } from '../ts/engine/index.js'
import { checkoutRoot } from '../scripts/tidy.js'
import { type CliResult, modelPath, runCli } from './support/run-cli.js'
import { ctrlC, startTerminal, terminalObstacle } from './support/terminal.js'

// Beside the models, which lie on the drive that users measure; the system's folder for temporary files may be memory.
const folder = mkdtempSync(join(checkoutRoot, 'build', 'iobench-'))
const states = mkdtempSync(join(tmpdir(), 'hypura-iobench-'))
const weights = join(folder, 'weights')
const kind = driveOf(folder).kind
const isDrive = kind === 'disk'
beforeAll(() => {
  const handle = openSync(weights, 'w')
  const piece = Buffer.alloc(2 ** 20)
  for (let i = 0; i < 96; i++) writeSync(handle, piece.fill(i + 1))
  fsyncSync(handle)
  closeSync(handle)
})
afterAll(() => [folder, states].forEach((path) => rmSync(path, { recursive: true, force: true })))

interface Cell {
  readonly backend: string
  readonly block_bytes: number
  readonly depth: number
  readonly bytes: number
  readonly seconds: number
  readonly bytes_per_second: number
}
interface Found {
  readonly schema: number
  readonly seed: number
  readonly forced: boolean
  readonly cells: readonly Cell[]
  readonly own: Cell & { readonly passes: readonly Cell[] }
  readonly rival: readonly Cell[]
  readonly saved_to: string | null
  readonly not_saved_because: string | null
}
const bench = (args: readonly string[], state = 'off'): Promise<CliResult> => runCli(['iobench', weights, ...(isDrive ? [] : ['--force']), ...args], { env: { HYPURA_STATE_DIR: state } })
async function json(args: readonly string[], state?: string): Promise<Found> {
  const { code, stdout, stderr } = await bench([...args, '-o', 'json'], state)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as Found
}

describe('the sweep', () => {
  test('measures the cells that were asked for, each once, and the engine\'s own way beside them', async () => {
    const found = await json(['--backend', 'pread', '--block-size', '64KiB,1MiB', '--depth', '4,1', '--seconds', '0.02', '--seed', '5'])
    expect(found).toMatchObject({ schema: 1, seed: 5, forced: !isDrive, own: { block_bytes: 2 ** 22, depth: 8 } })
    expect(found.cells.map(({ backend, block_bytes, depth }) => [backend, block_bytes, depth])).toEqual([2 ** 16, 2 ** 20].flatMap((size) => [1, 4].map((depth) => ['pread', size, depth])))
    for (const { bytes, seconds, bytes_per_second: rate } of [...found.cells, ...found.own.passes]) {
      expect(bytes).toBeGreaterThan(0)
      expect(rate).toBeCloseTo(bytes / seconds, 0)
    }
    // The fastest of the sweep is measured again, in turn with the engine's own way.
    expect(found.rival).toHaveLength(3)
    expect(found.own.passes).toHaveLength(4)
    const speeds = found.own.passes.map(({ bytes_per_second: rate }) => rate).sort((a, b) => a - b)
    expect(found.own.bytes_per_second).toBe(speeds[1])
  })
  test('--quick is short; --seconds is the time of a cell', async () => {
    const brief = await json(['--quick'])
    expect(brief.cells).toHaveLength(4)
    const long = await json(['--backend', 'pread', '--block-size', '4KiB', '--depth', '1', '--seconds', '0.3'])
    expect(long.cells[0]!.seconds).toBeGreaterThan(0.25)
  })
  test.each([['human', /^verdict +\S/m], ['md', /^\| verdict \| \S/m], ['csv', /^pass,backend,direct,block_bytes/]])('-o %s', async (format, shape) => {
    const { code, stdout, stderr } = await bench(['--quick', '--seconds', '0.01', '-o', format])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(shape)
    expect(stdout).not.toMatch(/undefined|NaN|Infinity/)
  })
  test.skipIf(terminalObstacle() !== undefined)('shows where it is on a terminal; Ctrl-C ends it at once and saves nothing', async () => {
    const state = join(states, 'interrupted')
    await using terminal = startTerminal(['iobench', weights, '--force', '--seconds', '60', '--block-size', '4KiB', '--depth', '1'], { env: { HYPURA_STATE_DIR: state } })
    await terminal.waitFor(/reading \S+ +0 % {2}the engine's own way/)
    terminal.type(ctrlC)
    expect(await terminal.ended).toBe(130)
    expect(terminal.text).toMatch(/interrupted\n$/)
    expect(existsSync(state)).toBe(false)
  })
})

describe('the profile', () => {
  const fast = ['--quick', '--backend', 'pread']
  const model = join(folder, 'model.gguf')
  beforeAll(() => copyFileSync(modelPath('fable-moe-q8_0.gguf'), model))
  const asked = (command: string, state: string): Promise<string> => runCli([command, model], { env: { HYPURA_STATE_DIR: state } }).then(({ stdout }) => stdout)

  test.skipIf(!isDrive)('decides what plan and doctor say of every file on that drive, until it is broken', async () => {
    const state = join(states, 'kept')
    expect(await asked('plan', state)).toMatch(/assumed; measure yours with hypura iobench/)
    expect(await asked('doctor', state)).toMatch(/^drive .*: not measured/m)
    const { saved_to: path, own } = await json(fast, state)
    expect(readdirSync(state).map((name) => join(state, name))).toEqual([path])
    expect(statSync(path!).mode & 0o77).toBe(0)
    const speed = `${own.bytes_per_second >= 1e10 ? (own.bytes_per_second / 1e9).toFixed(1) : (own.bytes_per_second / 1e9).toFixed(2)} GB/s`
    expect(await asked('doctor', state)).toMatch(new RegExp(`^drive .*: reads ${speed.replace('.', '\\.')}, measured on \\d{4}-\\d\\d-\\d\\d$`, 'm'))
    expect(await asked('plan', state)).toMatch(new RegExp(`at ${speed.replace('.', '\\.')} \\(\\S+, measured on `))
    const of = async (...flags: string[]): Promise<Record<string, unknown>> => JSON.parse((await runCli(['plan', model, '-o', 'json', ...flags], { env: { HYPURA_STATE_DIR: state } })).stdout) as Record<string, unknown>
    expect(await of()).toMatchObject({ disk_source: 'measured', disk_bytes_per_second: own.bytes_per_second })
    expect(await of('--disk', '1.5')).toMatchObject({ disk_source: '--disk', disk_bytes_per_second: 1.5e9, disk_measured_at: null })

    writeFileSync(path!, 'broken')
    for (const args of [['plan', model], ['doctor', model], ['run', model, '-p', 'x', '-n', '1']]) {
      const { code, stderr } = await runCli(args, { env: { HYPURA_STATE_DIR: state } })
      expect(code).toBe(0)
      expect(stderr.split('is ignored').length, `one warning of ${args[0]}`).toBe(2)
    }
    await json(fast, state) // and is replaced by the next measurement
    expect(await asked('plan', state)).toMatch(/measured on/)
  })

  test('is not kept with --no-save, without a state folder, and of too little; a folder that cannot be written is a warning', async () => {
    const state = join(states, 'never')
    expect((await json([...fast, '--no-save'], state)).saved_to).toBeNull()
    expect((await json(fast)).saved_to).toBeNull()
    const small = await runCli(['iobench', model, '--force', '--quick', '-o', 'json'], { env: { HYPURA_STATE_DIR: state } })
    expect((JSON.parse(small.stdout) as Found).not_saved_because).toMatch(isDrive ? /too few|page cache/ : /drive|page cache/)
    expect(existsSync(state)).toBe(false)
    if (!isDrive) return
    const shut = await bench([...fast, '-o', 'json'], join(weights, 'sub'))
    expect(shut.code).toBe(0)
    expect(shut.stderr).toMatch(/^warning: .*could not be written/)
  })

  test.skipIf(!existsSync('/dev/shm') || driveOf('/dev/shm').kind !== 'memory')('a file in memory is refused; --force measures it, says so, and keeps nothing', async () => {
    const copy = `/dev/shm/hypura-iobench-${process.pid}.gguf`
    const state = join(states, 'memory')
    copyFileSync(model, copy)
    try {
      const refused = await runCli(['iobench', copy], { env: { HYPURA_STATE_DIR: state } })
      expect(refused).toMatchObject({ code: 1, stdout: '' })
      expect(refused.stderr).toMatch(/not on a local drive.*--force[^]*ERR_HYPURA_UNSUPPORTED/)
      const { code, stdout } = await runCli(['iobench', copy, '--force', '--quick', '--seconds', '0.01'], { env: { HYPURA_STATE_DIR: state } })
      expect(code).toBe(0)
      expect(stdout).toMatch(/· not a local drive: memory$[^]*^doubt +no figure of a local drive/m)
      expect(existsSync(state)).toBe(false)
    } finally {
      rmSync(copy)
    }
  })
})

test.each([
  [['--block-size', '5000'], 2, /--block-size.*multiple of 4KiB/], [['--block-size', '32MiB'], 2, /16MiB/], [['--block-size', '50%'], 2, /multiple/], [['--block-size', ''], 2, /multiple/],
  [['--depth', '0'], 2, /1 to 64/], [['--depth', '1,x'], 2, /1 to 64/], [['--depth', '64', '--block-size', '16MiB'], 2, /no cell is left/], [['--seconds', '0'], 2, /from 0.01/],
  [['--backend', 'mmap'], 2, /all, auto, uring/], [['-o', 'xml'], 2, /human, json, md, csv/], [['--seed', '-1'], 2, /from 0/], [['--speed', '1'], 2, /--seed|--seconds/],
])('%j ends with %i before anything is read', async (args, code, advice) => {
  const shown = await bench(args)
  expect(shown).toMatchObject({ code, stdout: '' })
  expect(shown.stderr).toMatch(advice)
})

test('a path that is absent, a folder and an empty file are typed errors', async () => {
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, 'empty'), '')
  for (const [name, code] of [['nowhere', 3], ['sub', 3], ['empty', 2]] as const) {
    const shown = await runCli(['iobench', join(folder, name), '--force'])
    expect({ name, code: shown.code, stdout: shown.stdout }).toEqual({ name, code, stdout: '' })
    expect(shown.stderr).toMatch(/^error: .*\n +ERR_HYPURA_/)
  }
})
