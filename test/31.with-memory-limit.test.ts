// What could break: scripts/with-memory-limit measures a command that was never limited, loses its exit status or its signals,
// leaves a group or a process behind, or takes the caller down with it. How we notice: commands that allocate too much, end in
// every way and leave children, in real groups; the kernel's folders are looked at before and after.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { checkoutRoot } from '../scripts/tidy.js'
import type { LimitReport } from '../scripts/with-memory-limit.js'
import { driveOf } from '../ts/machine/drive.js'
import { readText } from '../ts/machine/system-files.js'
import { cgroupObstacle } from './support/cgroup.js'
import { terminalObstacle } from './support/terminal.js'

const launcher = join(checkoutRoot, 'scripts/with-memory-limit')
const folder = mkdtempSync(join(tmpdir(), 'hypura-limit-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const obstacle = cgroupObstacle()
if (obstacle !== undefined) console.warn(`skipped: ${obstacle}`)

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  readonly report: LimitReport
  readonly launcherPid: number
}

let runs = 0
/** `whenReady` acts once, when the command has written "ready". */
async function limited(options: readonly string[], command: readonly string[], whenReady?: (launcher: ChildProcess) => void): Promise<Ended> {
  const path = join(folder, `${runs++}.json`)
  const child = spawn(launcher, [...options, '--report', path, '--', ...command], { stdio: ['pipe', 'pipe', 'pipe'] })
  let [stdout, stderr, isReady] = ['', '', false]
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (!isReady && /ready/.test(stdout)) [isReady] = [true, whenReady?.(child)]
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.end('from the caller\n')
  const status = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  return { status, stdout, stderr, report: JSON.parse(readFileSync(path, 'utf8')) as LimitReport, launcherPid: child.pid! }
}

/** Fills a buffer of as many MiB. */
const allocate = (mib: number): string[] => ['dd', 'if=/dev/zero', 'of=/dev/null', `bs=${mib}M`, 'count=1', 'status=none']
/** Also a zombie is gone: it waits for its new parent only. */
const isAlive = (pid: number): boolean => {
  const state = readText(`/proc/${pid}/stat`)?.replace(/^.*\) /s, '')[0]
  return state !== undefined && state !== 'Z'
}
const groupsLeft = ({ report: { group } }: Ended): string[] => [group.path, join('/sys/fs/cgroup/blkio', basename(group.path))].filter((path) => existsSync(path))

describe.skipIf(obstacle !== undefined)('with-memory-limit', () => {
  let last: Ended | undefined
  afterEach(() => {
    if (last === undefined) return
    expect(last.report.group.removed).toBe(true)
    expect(groupsLeft(last)).toEqual([])
    last = undefined
  })

  test('what fits runs: streams, exit status and the kernel\'s peak are passed on', async () => {
    last = await limited(['400MB'], ['sh', '-c', 'cat; "$@"; echo to stderr >&2; exit 7', 'sh', ...allocate(100)])
    expect(last.status).toBe(7)
    expect(last.stdout).toBe('from the caller\n')
    expect(last.stderr).toContain('to stderr\n')
    expect(last.report).toMatchObject({ exitStatus: 7, signal: null, oomKills: 0, leftBehind: [], warnings: [], swapPeakBytes: 0 })
    expect(last.report.limitBytes).toBe(Math.floor(400e6 / 4096) * 4096)
    expect(last.report.peakBytes).toBeGreaterThan(100 * 2 ** 20)
    expect(last.report.peakBytes).toBeLessThanOrEqual(last.report.limitBytes)
    expect(last.stderr).toMatch(/^with-memory-limit: peak \d+ of 399998976 bytes .*, \d+ major faults?, 0 OOM kills, swap 0 B, [\d.]+ s, exit status 7$/m)
  })

  test('the divider may be left out: what follows the command is its own', () => {
    const words = ['-e', 'console.log(process.argv.slice(1).join(" "))', '--', '--report', 'nowhere', '-o', 'x']
    for (const options of [['300MB'], ['--swap', '0', '300MB'], ['300MB', '--swap', '0'], ['-o', 'json', '300MB'], ['300MB', '--output=json']]) {
      const { status, stdout, stderr } = spawnSync(launcher, [...options, process.execPath, ...words], { encoding: 'utf8' })
      expect({ status, stdout, stderr }, options.join(' ')).toMatchObject({ status: 0, stdout: '--report nowhere -o x\n' })
    }
  })

  test('what does not fit is killed, the caller is not', async () => {
    last = await limited(['200MiB'], allocate(400))
    expect(last.status).toBe(128 + 9)
    expect(last.stdout).toBe('')
    expect(last.report).toMatchObject({ exitStatus: 137, signal: 'SIGKILL' })
    expect(last.report.oomKills).toBeGreaterThanOrEqual(1)
    expect(last.report.limitHits).not.toBe(0)
    expect(last.report.peakBytes).toBeGreaterThan(190 * 2 ** 20)
    expect(last.report.peakBytes).toBeLessThanOrEqual(200 * 2 ** 20)
  })

  test('the command is inside from its first instruction', async () => {
    last = await limited(['100MB'], ['cat', '/proc/self/cgroup'])
    expect(last.stdout).toContain(`hypura-${last.launcherPid}-`)
  })

  test('signals go on to the command, whose answer counts', async () => {
    await Promise.all((['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(async (signal) => {
      const program = `trap 'echo got ${signal}; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`
      const ended = await limited(['100MB'], ['sh', '-c', program], (child) => child.kill(signal))
      expect(ended.stdout).toBe(`ready\ngot ${signal}\n`)
      expect(ended.status).toBe(9)
      expect(groupsLeft(ended)).toEqual([])
    }))
  })

  test('a command that a signal ends is 128 + n', async () => {
    last = await limited(['100MB'], ['sh', '-c', 'echo ready; exec sleep 60'], (child) => child.kill('SIGTERM'))
    expect(last.status).toBe(128 + 15)
    expect(last.report.signal).toBe('SIGTERM')
  })

  test('what the command leaves behind is ended, the deaf by force, and named', async () => {
    const deaf = 'trap "" TERM; while :; do read -r x < /dev/null; sleep 0.2; done'
    last = await limited(['100MB'], ['sh', '-c', `sleep 60 >/dev/null 2>&1 & sh -c '${deaf}' >/dev/null 2>&1 & sleep 0.3; exit 3`])
    expect(last.status).toBe(3)
    const ends = new Map(last.report.leftBehind.map(({ pid, name, endedBy }) => [`${name} ${endedBy}`, pid]))
    expect([...ends.keys()]).toEqual(expect.arrayContaining(['sleep SIGTERM', 'sh SIGKILL']))
    expect(last.stderr).toMatch(/left behind, .*\(sleep\) by SIGTERM/)
    for (const pid of ends.values()) expect(isAlive(pid)).toBe(false)
  })

  test('a command that is not there is 127, as in a shell', async () => {
    last = await limited(['100MB'], ['no-such-command-anywhere'])
    expect(last.status).toBe(127)
  })

  const drive = driveOf(folder)
  test.skipIf(drive.kind !== 'disk' || drive.devices.length !== 1)('reads from the device are slowed down', async () => {
    const file = join(folder, 'read.bin')
    writeFileSync(file, Buffer.alloc(16e6, 7), { flush: true })
    last = await limited(['100MB', '--read-bps', '16MB', '--device', file], ['dd', `if=${file}`, 'of=/dev/null', 'bs=1M', 'iflag=direct'])
    expect(last.status).toBe(0)
    expect(last.report.read).toMatchObject({ bytesPerSecond: 16e6 })
    expect(last.report.wallSeconds).toBeGreaterThan(0.7) // 16 MB at 16 MB/s; no upper bound, since machines are busy
  })

  test.skipIf(terminalObstacle() !== undefined)('Ctrl-C reaches the command once: the terminal sends it already', async () => {
    const counter = join(folder, 'counter.mjs')
    writeFileSync(counter, "let caught = 0; process.on('SIGINT', () => caught++); console.log('ready'); setTimeout(() => { console.log(`caught ${caught}`); process.exit(4) }, 1500)")
    const child = spawn('script', ['-qefc', `exec ${launcher} 100MB -- ${process.execPath} ${counter}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, SHELL: '/bin/sh' },
    })
    let [shown, isReady] = ['', false]
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      if (isReady || !/ready/.test(shown)) return
      isReady = true
      for (let typed = 0; typed < 3; typed++) setTimeout(() => child.stdin.write('\x03'), typed * 250)
    })
    const status = await new Promise((resolve) => child.on('close', resolve))
    const caught = Number(/caught (\d+)/.exec(shown)?.[1])
    expect(caught).toBeGreaterThanOrEqual(1) // a busy machine may deliver two as one, never one as two
    expect(caught).toBeLessThanOrEqual(3)
    expect(status).toBe(4)
  })
})

describe('what cannot be run under a limit is refused with a sentence and 125', () => {
  test.each([
    [['2G', '--', 'true'], /Did you mean "2GiB"/],
    [['50%', '--', 'true'], /no fixed amount/],
    [['1GB'], /missing required argument 'command'/],
    [['1GB', '--swop', '0', '--', 'true'], /unknown option '--swop'/],
    [['1GB', '--device', '/', '--', 'true'], /--device means nothing without --read-bps/],
    [['1GB', '--read-bps', '1MB', '--device', '/nowhere', '--', 'true'], /\/nowhere does not exist/],
    [['1GB', '--report', '/nowhere/x', '--', 'true'], /report cannot be written/],
  ])('%j', (args, sentence) => {
    const { status, stderr } = spawnSync(launcher, args, { encoding: 'utf8' })
    expect(stderr).toMatch(sentence)
    expect(status).toBe(125)
  })

  test('before the build, the launcher says what to build', () => {
    const lone = join(folder, 'scripts')
    spawnSync('sh', ['-c', 'mkdir "$0" && cp "$1" "$0"', lone, launcher])
    const { status, stderr } = spawnSync(join(lone, 'with-memory-limit'), ['1GB', '--', 'true'], { encoding: 'utf8' })
    expect(stderr).toMatch(/npm run build:ts/)
    expect(status).toBe(125)
  })
})
