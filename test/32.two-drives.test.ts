// What could break: of two drives one idles while the other has a queue, or a slow one holds up a fast one.
// How we notice: two file systems on loop devices are throttled to 60 and 30 MB/s, and the copies must have given two thirds and
// one third of the bytes, with the text of a run without a mirror. HYPURA_LONG=1 and root only: nobody else makes such drives.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { modelPath, runCli } from './support/run-cli.js'

const group = `/sys/fs/cgroup/blkio/hypura-test-${process.pid}`
const isPossible = process.env['HYPURA_LONG'] !== undefined && process.getuid?.() === 0 && existsSync('/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device') && existsSync('/dev/loop-control')

describe.skipIf(!isPossible)('two throttled drives (HYPURA_LONG, root, a blkio group of cgroup v1)', () => {
  const folder = isPossible ? mkdtempSync(join(tmpdir(), 'hypura-drives-')) : ''
  const drives: { device: string; mount: string; copy: string }[] = []

  function addDrive(name: string): void {
    const [image, mount] = [join(folder, `${name}.img`), join(folder, name)]
    writeFileSync(image, '')
    truncateSync(image, 2 ** 26)
    mkdirSync(mount)
    execFileSync('mkfs.ext4', ['-q', '-F', image])
    const device = execFileSync('losetup', ['-f', '--show', '--direct-io=on', image], { encoding: 'utf8' }).trim()
    const copy = join(mount, 'model.gguf')
    drives.push({ device, mount, copy })
    execFileSync('mount', [device, mount])
    rmSync(image) // a loop that has lost the name of its file counts as a drive of its own
    copyFileSync(modelPath('fable-dense-f16.gguf'), copy)
  }

  beforeAll(() => {
    ['a', 'b'].forEach(addDrive)
    execFileSync('sync')
    mkdirSync(group)
    drives.forEach(({ device }, i) => {
      const number = readFileSync(`/sys/class/block/${device.slice('/dev/'.length)}/dev`, 'utf8').trim()
      writeFileSync(join(group, 'blkio.throttle.read_bps_device'), `${number} ${[60e6, 30e6][i]!}`)
    })
  })
  afterAll(() => {
    for (const { device, mount } of drives) {
      execFileSync('umount', [mount])
      execFileSync('losetup', ['-d', device])
    }
    if (existsSync(group)) rmdirSync(group)
    rmSync(folder, { recursive: true, force: true })
  })

  test('share the bytes as their bandwidths', { timeout: 60_000 }, async () => {
    const stats = join(folder, 'stats.jsonl')
    const run = ['run', drives[0]!.copy, '-p', 'Once upon a time', '--temp', '0', '-n', '24', '--ignore-eos', '-c', '64', '-b', '1', '--memory', '8MiB']
    const alone = await runCli(run, { cgroup: group })
    const both = await runCli([...run, '--mirror', drives[1]!.copy, '--stats-file', stats], { cgroup: group })
    expect(both.code, both.stderr).toBe(0)
    expect(both.stdout).toBe(alone.stdout)
    expect(both.stderr).toContain('2 copies on 2 drives')
    const { copies } = JSON.parse(readFileSync(stats, 'utf8')) as { copies: { bytes_read: number }[] }
    const share = copies[0]!.bytes_read / (copies[0]!.bytes_read + copies[1]!.bytes_read)
    expect(share).toBeGreaterThan(0.6)
    expect(share).toBeLessThan(0.73)
  })
})
