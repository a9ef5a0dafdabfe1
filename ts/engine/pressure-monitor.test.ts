// What could break: a sign that is not looked at, or counted of a group where it means nothing; a change told twice or never; a
// shrink that overtakes itself.
// How we notice: a memory that only remembers what it was asked for, over fixtures of /proc and both cgroup versions.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { fixture } from '../machine/fixture.test.helper.js'
import type { MemoryChange } from './options.js'
import { type MonitorParts, PressureMonitor } from './pressure-monitor.js'

const files = fixture()
afterAll(files.remove)
const mib = 2 ** 20
const meminfo = (availableMib: number): string => `MemTotal: ${8192 * 1024} kB\nMemAvailable: ${availableMib * 1024} kB\n`
const psi = (us: number): string => `some avg10=0.00 avg60=0.00 avg300=0.00 total=${us}\n`

function world(first: Record<string, string>, options: { follows?: boolean; settle?: (bytes: number) => Promise<unknown> } = {}) {
  const tree = files.tree({ 'proc/meminfo': meminfo(4096), ...first })
  const asked: number[] = []
  const changes: MemoryChange[] = []
  const warnings: string[] = []
  const watched: string[] = []
  let total = 1000 * mib
  let events = 0
  const parts: MonitorParts = {
    memory: {
      get plan() { return { chosen: { total } } as MonitorParts['memory']['plan'] },
      leastBytes: 100 * mib, mostBytes: 1000 * mib, budgetMostBytes: 1200 * mib,
      get arenaBytes() { return total },
      resize: async (bytes) => {
        asked.push(bytes)
        await options.settle?.(bytes)
        total = Math.min(bytes, 1000 * mib)
        return bytes
      },
    },
    follows: options.follows ?? true,
    watchPressure: (folder) => {
      if (!folder.endsWith('mine')) throw new Error('not here')
      watched.push(folder)
      return () => { const count = events; events = 0; return count }
    },
    onChange: (change) => changes.push(change),
    onWarning: (text) => warnings.push(text),
    files: tree,
  }
  const monitor = new PressureMonitor(parts)
  return {
    asked, changes, warnings, watched, monitor,
    write: (path: string, text: string) => { mkdirSync(dirname(join(tree.root, path)), { recursive: true }); writeFileSync(join(tree.root, path), text) },
    starve: () => { events++ },
    look: async (ms: number) => { monitor.look(ms); await turn(); await turn() },
  }
}

const v1 = (limitMib: number, usedMib: number): Record<string, string> => ({
  'proc/self/cgroup': '4:memory:/mine\n',
  'cgroup/memory/mine/memory.limit_in_bytes': String(limitMib * mib),
  'cgroup/memory/mine/memory.usage_in_bytes': String(usedMib * mib),
})

describe('the monitor', () => {
  test('rests while there is room', async () => {
    const { look, asked, monitor } = world(v1(1300, 1050))
    for (let ms = 0; ms < 20_000; ms += 250) await look(ms)
    expect(asked).toEqual([])
    monitor.close()
  })

  test('follows a lower limit with auto, and tells of it once', async () => {
    const { look, asked, changes, write, monitor } = world(v1(1300, 1050))
    await look(0)
    for (const [path, text] of Object.entries(v1(900, 899))) write(path, text)
    await look(250)
    expect(asked).toHaveLength(1)
    expect(asked[0]).toBeGreaterThan(800 * mib)
    expect(asked[0]).toBeLessThan(920 * mib)
    expect(changes).toEqual([{ fromBytes: 1000 * mib, toBytes: asked[0], loadedBytes: 1000 * mib, reason: 'limit' }])
    monitor.close()
  })

  test('hears a starving version 1 group, also with a size that was named, and waits until less is in force', async () => {
    let settle = (): void => undefined
    const { look, asked, starve, watched, monitor, changes } = world(v1(1300, 1050), { follows: false, settle: () => new Promise<void>((resolve) => (settle = resolve)) })
    expect(watched).toHaveLength(1)
    starve()
    await look(0)
    expect(asked).toEqual([550 * mib])
    starve()
    await look(250)
    expect(asked).toHaveLength(1) // events of memory that is on its way out
    settle()
    await turn()
    await look(500)
    expect(asked).toHaveLength(1)
    starve()
    await look(750)
    expect(asked).toHaveLength(2)
    settle()
    await turn()
    expect(changes.map(({ reason }) => reason)).toEqual(['pressure', 'pressure'])
    monitor.close()
  })

  test('counts waiting of the machine only when the machine is full', async () => {
    for (const [availableMib, shrinks] of [[4096, false], [200, true]] as const) {
      const { look, asked, write, monitor } = world({ 'proc/meminfo': meminfo(availableMib), 'proc/pressure/memory': psi(0) }, { follows: false })
      await look(0)
      write('proc/pressure/memory', psi(300_000))
      await look(1000)
      expect(asked.length > 0).toBe(shrinks)
      const count = asked.length
      await look(2000) // nobody waited since
      expect(asked).toHaveLength(count)
      monitor.close()
    }
  })

  test('counts waiting of a full version 2 group', async () => {
    const { look, asked, write, monitor } = world({
      'proc/self/cgroup': '0::/pod\n', 'cgroup/pod/memory.max': String(1100 * mib), 'cgroup/pod/memory.current': String(1090 * mib), 'cgroup/pod/memory.pressure': psi(0),
    }, { follows: false })
    await look(0)
    write('cgroup/pod/memory.pressure', psi(200_000))
    await look(1000)
    expect(asked).toEqual([775 * mib])
    monitor.close()
  })

  test('grows back to the whole budget, and a refusal is a warning', async () => {
    let refuses = true
    const { look, asked, changes, warnings, starve, monitor } = world(v1(3000, 1050), { settle: async (bytes) => { if (bytes > 900 * mib && refuses) throw new Error('no memory') } })
    starve()
    await look(0)
    for (let ms = 250; ms < 60_000; ms += 250) await look(ms)
    expect(warnings.some((text) => text.includes('no memory'))).toBe(true)
    refuses = false
    for (let ms = 60_000; ms < 600_000; ms += 250) await look(ms)
    expect(asked.at(-1)).toBe(1200 * mib)
    expect(changes.at(-1)).toMatchObject({ toBytes: 1000 * mib, reason: 'room' })
    monitor.close()
  })

  test('a size that the host chose is the new most; a closed monitor does nothing', async () => {
    const { look, asked, starve, monitor } = world(v1(3000, 1050))
    monitor.setMost(600 * mib)
    for (let ms = 0; ms < 60_000; ms += 250) await look(ms)
    expect(asked).toEqual([])
    monitor.close()
    starve()
    await look(70_000)
    expect(asked).toEqual([])
  })
})
