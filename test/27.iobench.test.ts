// What could break: a bandwidth that a cache gave passes for the drive's, a table that disagrees with its JSON, a plan that goes
// on assuming after the drive was measured, a run that leaves something behind.
// How we notice: the command runs on real files, its formats are compared with each other, and the state folder is looked at.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { afterAll, expect, test } from 'vitest'
import { cliPath, modelPath, runCli } from './support/run-cli.js'
import { driveOf } from '../ts/engine/index.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-iobench-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const state = join(folder, 'state')
const env = { HYPURA_STATE_DIR: state }
const large = join(folder, 'large.bin')
writeFileSync(large, Array.from({ length: 96 }, () => randomBytes(2 ** 20)).reduce((all, part) => Buffer.concat([all, part])))
const cells = ['--block-size', '64KiB,4MiB', '--depth', '1,8', '--seconds', '0.1']
const isDisk = driveOf(large).kind === 'disk'

interface Report {
  readonly schema: number
  readonly engine_gb_s: number
  readonly cells: readonly { readonly backend: string; readonly block_bytes: number; readonly depth: number; readonly gb_s: number; readonly bytes: number; readonly os_bytes: number | null; readonly cached: boolean }[]
  readonly engine_cells: readonly unknown[]
  readonly drive: { readonly kind: string }
}

test.skipIf(!isDisk)('cells, figures that agree with the system, and a profile that plans use', { timeout: 60_000 }, async () => {
  const before = JSON.parse((await runCli(['plan', modelPath('fable-draft-q8_0.gguf'), '-o', 'json'], { env })).stdout) as { disk_measured_at: unknown }
  expect(before.disk_measured_at).toBeNull()
  const run = await runCli(['iobench', large, ...cells, '-o', 'json', '--seed', '3'], { env })
  expect(run.code, run.stderr).toBe(0)
  const report = JSON.parse(run.stdout) as Report
  expect(report).toMatchObject({ schema: 1, drive: { kind: 'disk' } })
  expect(report.engine_cells).toHaveLength(3)
  for (const cell of report.cells) {
    expect(cell.gb_s).toBeGreaterThan(0)
    if (cell.backend !== 'buffered' && cell.os_bytes !== null) expect(Math.abs(cell.os_bytes - cell.bytes) / cell.bytes).toBeLessThan(0.02)
  }
  expect(new Set(report.cells.map(({ block_bytes, depth }) => `${block_bytes} ${depth}`))).toEqual(new Set(['65536 1', '65536 8', '4194304 1', '4194304 8']))
  expect(readdirSync(join(state, 'drives'))).toHaveLength(1)
  const after = JSON.parse((await runCli(['plan', modelPath('fable-draft-q8_0.gguf'), '-o', 'json'], { env })).stdout) as { disk_measured_at: string | null; disk_bytes_per_second: number }
  if (driveOf(modelPath('fable-draft-q8_0.gguf')).devices.join() === driveOf(large).devices.join()) expect(after.disk_measured_at).toMatch(/^\d{4}-/)
  const human = (await runCli(['iobench', large, ...cells, '--no-save', '--backend', 'pread'], { env: { HYPURA_STATE_DIR: join(folder, 'none') } })).stdout
  expect(human).toMatch(/pread 64\.0 KiB +[\d.]+ +[\d.]+\n/)
  expect(human).toMatch(/^engine .*GB\/s, median of/m)
  expect(human).toMatch(/^verdict /m)
  expect(existsSync(join(folder, 'none'))).toBe(false)
})

test('a small file is measured, said to be small, and not kept', async () => {
  const { code, stdout, stderr } = await runCli(['iobench', modelPath('fable-draft-q8_0.gguf'), '--quick', '--seconds', '0.05', '-o', 'csv'], { env: { HYPURA_STATE_DIR: join(folder, 'small') } })
  expect(code, stderr).toBe(0)
  const [head, ...rows] = stdout.trim().split('\n')
  expect(head).toMatch(/^backend,direct,block_bytes,depth,gb_s/)
  for (const row of rows) expect(row.split(',')).toHaveLength(head!.split(',').length)
  expect(stderr).toContain('the file is small')
  expect(stderr).toContain('not kept')
  expect(existsSync(join(folder, 'small'))).toBe(false)
})

test('Markdown has the columns of the CSV', async () => {
  const { stdout } = await runCli(['iobench', modelPath('fable-draft-q8_0.gguf'), '--quick', '--no-save', '--seconds', '0.05', '-o', 'md', '--backend', 'pread'])
  expect(stdout.split('\n')[0]).toMatch(/^\| backend \| direct \| block_bytes /)
})

test.skipIf(!existsSync('/dev/shm'))('what lies in memory is refused, and marked when it is forced', async () => {
  const path = `/dev/shm/hypura-iobench-${process.pid}`
  writeFileSync(path, Buffer.alloc(2 ** 20))
  try {
    expect(await runCli(['iobench', path, '--quick'])).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('ERR_HYPURA_UNSUPPORTED') })
    const forced = await runCli(['iobench', path, '--quick', '--force', '--seconds', '0.05', '-o', 'json'], { env: { HYPURA_STATE_DIR: join(folder, 'shm') } })
    expect(forced.code, forced.stderr).toBe(0)
    expect(forced.stderr).toMatch(/no disk|page cache/)
    expect(existsSync(join(folder, 'shm'))).toBe(false)
  } finally {
    rmSync(path)
  }
})

test.each([['--depth', '65'], ['--depth', '0'], ['--block-size', '5KiB'], ['--block-size', '32MiB'], ['--block-size', 'auto'], ['--backend', 'magic'], ['--seconds', '0'], ['-o', 'xml']])('%s %s is refused before anything is read', async (...flag) => {
  expect(await runCli(['iobench', large, ...flag])).toMatchObject({ code: 2, stdout: '' })
})

test('no file, a folder and depths that do not go with a block size are typed errors', async () => {
  expect((await runCli(['iobench', join(folder, 'nowhere')])).code).toBe(3)
  expect((await runCli(['iobench', folder])).code).toBe(3)
  expect((await runCli(['iobench', large, '--block-size', '16MiB', '--depth', '32'])).code).toBe(2)
})

test('SIGINT ends it with 130 before its time', async () => {
  // The progress of cells is silent in a pipe: the signal comes a while after the start.
  const run = spawn(process.execPath, [cliPath, 'iobench', large, '--seconds', '60'], { env: { ...process.env, ...env }, stdio: 'ignore' })
  setTimeout(() => run.kill('SIGINT'), 2000)
  const [code] = await once(run, 'close') as [number | null]
  expect(code).toBe(130)
}, 30_000)
