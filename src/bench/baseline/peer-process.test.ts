// What could break: a peer that is killed takes the bench with it or counts as a failure of it, one that hangs is waited for for
// ever, one that outlives an interrupt.
// How we notice: programs that do these things, as peers.
import { expect, test } from 'vitest'
import { endOf, runPeerProcess, type PeerProcess } from './peer-process.js'

const never = new AbortController().signal
const shell = (script: string, timeoutMs = 20_000, signal: AbortSignal = never): Promise<PeerProcess> => runPeerProcess('/bin/sh', ['-c', script], { signal, timeoutMs })
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('output, exit code and what the system counted come back', async () => {
  const ended = await shell('cat; echo out; echo err >&2; sleep 0.3; exit 3')
  expect(ended).toMatchObject({ code: 3, signal: null, timedOut: false, stdout: 'out\n', stderr: 'err\n' })
  expect(endOf(ended)).toEqual({ outcome: 'failed', reason: 'exit code 3: err' })
  if (process.platform === 'linux') expect(ended.peakBytes).toBeGreaterThan(100_000)
})

test('the kernel takes the peer before it takes us', async () => {
  if (process.platform === 'linux') expect((await shell('sleep 0.2; cat /proc/$$/oom_score_adj')).stdout).toBe('1000\n')
})

test('killed is a result of its own', async () => expect(endOf(await shell('kill -9 $$'))).toMatchObject({ outcome: 'killed' }))

test('one that hangs is ended', async () => {
  const ended = await shell('exec sleep 60', 200)
  expect(ended.ms).toBeLessThan(10_000)
  expect(endOf(ended)).toMatchObject({ outcome: 'timeout' })
})

test('an interrupt ends it, and is thrown on', async () => {
  const controller = new AbortController()
  const reason = new Error('interrupted')
  let pid = 0
  setTimeout(() => controller.abort(reason), 200)
  await expect(runPeerProcess(process.execPath, ['-e', `process.stdout.write(''); setTimeout(() => 0, 60000)`], { signal: controller.signal, timeoutMs: 20_000, onStart: (id) => (pid = id) })).rejects.toBe(reason)
  expect(pid).toBeGreaterThan(0)
  expect(alive(pid)).toBe(false)
  await expect(shell('exit 0', 1000, controller.signal)).rejects.toBe(reason)
})

test('a program that is not there is an error, not a hang', async () => {
  await expect(runPeerProcess('/nowhere/llama-bench', [], { signal: never, timeoutMs: 1000 })).rejects.toThrow(/ENOENT/)
})
