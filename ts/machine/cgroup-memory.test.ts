// What could break: the group of a container, or the one above the group that is charged, is taken for our own; figures of one
// version are looked for under the other's names; "no limit" becomes a limit. How we notice: folders of both versions.
import { afterAll, expect, test } from 'vitest'
import { cgroupMemory } from './cgroup-memory.js'
import { fixture } from './fixture.test.helper.js'

const files = fixture()
afterAll(files.remove)

const v1 = {
  'memory.limit_in_bytes': '300000000\n',
  'memory.usage_in_bytes': '200000000\n',
  'memory.max_usage_in_bytes': '299000000\n',
  'memory.failcnt': '12\n',
  'memory.memsw.failcnt': '5\n',
  'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
  'memory.stat': 'cache 1\nrss 1\nswap 1\npgmajfault 1\ntotal_cache 150000000\ntotal_rss 40000000\ntotal_mapped_file 30000000\ntotal_pgmajfault 55\ntotal_inactive_file 90000000\n' +
    'total_active_file 60000000\ntotal_swap 7000000\n',
}
const v2 = {
  'memory.max': 'max\n',
  'memory.high': '350000000\n',
  'memory.current': '100000000\n',
  'memory.peak': '340000000\n',
  'memory.swap.current': '4096\n',
  'memory.events': 'low 0\nhigh 9\nmax 4\noom 3\noom_kill 2\noom_group_kill 1\n',
  'memory.stat': 'anon 60000000\nfile 30000000\nfile_mapped 10000000\ninactive_file 12000000\nactive_file 8000000\npgfault 5\npgmajfault 44\n',
}
const at = (folder: string, group: Record<string, string>): Record<string, string> => Object.fromEntries(Object.entries(group).map(([name, text]) => [`${folder}/${name}`, text]))

test('version 1, with the groups below', () => {
  expect(cgroupMemory(files.tree({ 'proc/self/cgroup': '5:cpu:/other\n4:hugetlb,memory:/a/b\n0::/\n', ...at('cgroup/memory/a/b', v1) }))).toEqual({
    available: true, version: 1, path: '/a/b', usageBytes: 200_000_000, limitBytes: 300_000_000, throttledAboveBytes: undefined, peakBytes: 299_000_000, limitHits: 17, oomKills: 2,
    swapBytes: 7_000_000, anonBytes: 40_000_000, fileBytes: 150_000_000, mappedFileBytes: 30_000_000, reclaimableBytes: 120_000_000, majorFaults: 55,
  })
})

test.each(['cgroup', 'cgroup/unified'])('version 2, mounted at %s', (root) => {
  expect(cgroupMemory(files.tree({ 'proc/self/cgroup': '0::/pod/box\n', ...at(`${root}/pod/box`, v2) }))).toEqual({
    available: true, version: 2, path: '/pod/box', usageBytes: 100_000_000, limitBytes: undefined, throttledAboveBytes: 350_000_000, peakBytes: 340_000_000, limitHits: 4, oomKills: 2,
    swapBytes: 4096, anonBytes: 60_000_000, fileBytes: 30_000_000, mappedFileBytes: 10_000_000, reclaimableBytes: 10_000_000, majorFaults: 44,
  })
})

test('version 1 writes a number near 2^63 for no limit', () => {
  const group = { ...v1, 'memory.limit_in_bytes': '9223372036854771712\n' }
  expect(cgroupMemory(files.tree({ 'proc/self/cgroup': '4:memory:/\n', ...at('cgroup/memory', group) }))).toMatchObject({ path: '/', limitBytes: undefined, usageBytes: 200_000_000 })
})

test('a peak at the limit of which the kernel counted no hit is not "never"', () => {
  const uncounted = { ...v1, 'memory.failcnt': '0\n', 'memory.memsw.failcnt': '0\n' }
  const hits = (group: Record<string, string>): number | undefined => {
    const found = cgroupMemory(files.tree({ 'proc/self/cgroup': '4:memory:/a\n', ...at('cgroup/memory/a', group) }))
    return found.available ? found.limitHits : -1
  }
  expect(hits(uncounted)).toBe(0)
  expect(hits({ ...uncounted, 'memory.max_usage_in_bytes': '300000000\n' })).toBeUndefined()
})

test('in a container the own group is mounted as the root; in a group without the controller the one above is charged', () => {
  const contained = { 'proc/self/cgroup': '4:memory:/docker/0c1\n', ...at('cgroup/memory', v1), ...at('cgroup/memory/docker', { ...v1, 'memory.usage_in_bytes': '9\n' }) }
  expect(cgroupMemory(files.tree(contained))).toMatchObject({ path: '/', usageBytes: 200_000_000 })
  const below = { 'proc/self/cgroup': '0::/pod/box/leaf\n', 'cgroup/pod/box/leaf/cgroup.procs': '', ...at('cgroup/pod/box', v2) }
  expect(cgroupMemory(files.tree(below))).toMatchObject({ path: '/pod/box', usageBytes: 100_000_000 })
})

test('an older kernel leaves gaps, not zeros', () => {
  const old = { 'memory.current': '5\n', 'memory.max': '10\n' }
  const found = cgroupMemory(files.tree({ 'proc/self/cgroup': '0::/a\n', ...at('cgroup/a', old) }))
  expect(found).toMatchObject({ limitBytes: 10, peakBytes: undefined, oomKills: undefined, swapBytes: undefined, majorFaults: undefined })
})

test('where nothing is accounted the reason says so', () => {
  expect(cgroupMemory(files.tree({}))).toMatchObject({ available: false, reason: expect.stringContaining('no control group') })
  expect(cgroupMemory(files.tree({ 'proc/self/cgroup': '0::/\n', 'cgroup/cgroup.procs': '' }))).toMatchObject({ available: false, reason: expect.stringContaining('accounts for /,') })
})
