// What could break: a limit is written to the wrong file, in the wrong order or to a group that the kernel refuses; a half-made
// group stays behind; pid 0 is killed. How we notice: folders as both versions have them, where every write can be looked at.
// That the kernel obeys is shown by test/31 on version 1; version 2 is not run, only its files are.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { commandInGroups, createControlGroup } from './control-group.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-group-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function tree(files: Record<string, string>): { proc: string; cgroup: string; at: (path: string) => string } {
  const root = mkdtempSync(join(folder, 'tree-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return { proc: join(root, 'proc'), cgroup: join(root, 'cgroup'), at: (path) => readFileSync(join(root, path), 'utf8') }
}

const written = (path: string): Record<string, string> => Object.fromEntries(readdirSync(path).sort().map((name) => [name, readFileSync(join(path, name), 'utf8')]))
const groupsIn = (path: string): string[] => readdirSync(path).filter((name) => name.startsWith('hypura-'))
const read = { device: '259:0', bytesPerSecond: 200_000_000 }

describe('version 2', () => {
  const beside = {
    'proc/self/cgroup': '0::/user/session\n',
    'cgroup/cgroup.controllers': 'cpu io memory\n',
    'cgroup/user/session/cgroup.procs': '1\n',
    'cgroup/user/cgroup.controllers': 'cpu io memory\n',
    'cgroup/user/cgroup.subtree_control': 'memory\n',
  }

  test('makes the group beside our own, with memory, swap and reads in one place', () => {
    const files = tree(beside)
    const group = createControlGroup({ memoryBytes: 1_660_000_000, swapBytes: 0, read }, files)
    expect(group.version).toBe(2)
    expect(dirname(group.path)).toBe(join(files.cgroup, 'user'))
    expect(group.folders).toEqual([group.path])
    expect(written(group.path)).toEqual({ 'memory.max': '1660000000', 'memory.swap.max': '0', 'io.max': '259:0 rbps=200000000' })
    expect(files.at('cgroup/user/cgroup.subtree_control')).toBe('+io') // memory was handed down already
    expect(group.reason).toContain('unified')
  })

  test('of a process in the root, in the root; both places of mounting', () => {
    for (const mount of ['cgroup', 'cgroup/unified']) {
      const files = tree({ 'proc/self/cgroup': '0::/\n', [`${mount}/cgroup.controllers`]: 'memory\n', [`${mount}/cgroup.subtree_control`]: '\n' })
      const group = createControlGroup({ memoryBytes: 2 ** 30, swapBytes: 4096 }, files)
      expect(dirname(group.path)).toBe(join(files.cgroup, '..', mount))
      expect(files.at(`${mount}/cgroup.subtree_control`)).toBe('+memory')
      expect(written(group.path)).toEqual({ 'memory.max': '1073741824', 'memory.swap.max': '4096' })
    }
  })

  test('figures, processes and limits come from its files; pid 0 and our own are nobody', () => {
    const group = createControlGroup({ memoryBytes: 2 ** 30, swapBytes: 0 }, tree(beside))
    mkdirSync(join(group.path, 'below'))
    writeFileSync(join(group.path, 'cgroup.procs'), `0\n41\n${process.pid}\n`)
    writeFileSync(join(group.path, 'below/cgroup.procs'), '42\n41\n')
    for (const [name, text] of [['memory.current', '7'], ['memory.peak', '9'], ['memory.events', 'max 3\noom_kill 1\n']] as const) writeFileSync(join(group.path, name), text)
    expect(group.processes()).toEqual([41, 42])
    expect(group.figures()).toMatchObject({ usageBytes: 7, peakBytes: 9, limitBytes: 2 ** 30, limitHits: 3, oomKills: 1 })
    expect(group.remove()).toContain(group.path) // files of a fixture keep it, as processes would
  })

  test('a limit above that is lower is said, not met in silence, and nothing stays behind', () => {
    const files = tree({ ...beside, 'cgroup/user/memory.max': '1000000\n' })
    expect(() => createControlGroup({ memoryBytes: 2_000_000, swapBytes: 0 }, files)).toThrow(/allows only 1000000/)
    expect(groupsIn(join(files.cgroup, 'user'))).toEqual([])
  })
})

describe('version 1', () => {
  const below = {
    'proc/self/cgroup': '4:memory:/a\n0::/\n',
    'cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    'cgroup/memory/a/memory.limit_in_bytes': '9223372036854771712\n',
  }

  test('makes the group below our own; without swap accounting it says what may be swapped', () => {
    const files = tree({ ...below, 'proc/swaps': 'Filename Type Size Used Priority\n/dev/zram0 partition 1 0 5\n' })
    const group = createControlGroup({ memoryBytes: 1000_000, swapBytes: 0 }, files)
    expect(dirname(group.path)).toBe(join(files.cgroup, 'memory/a'))
    expect(written(group.path)).toEqual({ 'memory.limit_in_bytes': '1000000' })
    expect(group.warning).toContain('1 swap area')
  })

  test('without a throttle, reads are refused before anything runs, and nothing stays behind', () => {
    const files = tree(below)
    rmSync(join(files.cgroup, 'blkio'), { recursive: true, force: true })
    expect(() => createControlGroup({ memoryBytes: 1000_000, swapBytes: 0, read }, files)).toThrow(/reads cannot be limited here/)
  })
})

test('nowhere: the reason names what was tried', () => {
  const hybrid = tree({ 'proc/self/cgroup': '1:cpu:/\n0::/\n', 'cgroup/unified/cgroup.controllers': 'hugetlb\n' })
  expect(() => createControlGroup({ memoryBytes: 1, swapBytes: 0 }, hybrid)).toThrow(/unified: no memory controller of version 2.*root/)
  expect(() => createControlGroup({ memoryBytes: 1, swapBytes: 0 }, tree({}))).toThrow(/no control groups/)
})

test('the command joins every group before it runs; without groups it is itself', () => {
  expect(commandInGroups([], ['a', 'b c'])).toEqual(['a', 'b c'])
  const [file, ...args] = commandInGroups(['/g 1', '/g2'], ['echo', '$x'])
  expect(file).toBe('/bin/sh')
  expect(args.slice(3)).toEqual(['2', '/g 1', '/g2', 'echo', '$x']) // names are arguments, never part of the script
  expect(existsSync(file)).toBe(true)
})
