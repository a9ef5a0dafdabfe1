// What could break: a container's limit is not seen, `--memory auto` plans with the machine's memory and the kernel kills us.
// How we notice: fixtures of both cgroup versions, with a limit in the group itself, above it, and none.
import { afterAll, expect, test } from 'vitest'
import { fixture } from './fixture.test.helper.js'
import { autoBudgetBytes, type MemoryFiles, memoryLimits, tightestLimit } from './memory-limits.js'

const files = fixture()
afterAll(files.remove)

const tree = (more: Record<string, string>): MemoryFiles => files.tree({ 'proc/meminfo': 'MemTotal: 1000000 kB\nMemAvailable: 800000 kB\n', ...more })

test('a machine without cgroups gives what is available', () => {
  const limits = memoryLimits(tree({}))
  expect(limits).toEqual([{ source: 'machine', limitBytes: 1_024_000_000, availableBytes: 819_200_000 }])
})

test('a version 1 limit counts, its page cache as free, mapped code not', () => {
  const limits = memoryLimits(tree({
    'proc/self/cgroup': '5:memory:/a/b\n1:name=systemd:/a\n',
    'cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    'cgroup/memory/memory.usage_in_bytes': '500000000\n',
    'cgroup/memory/a/b/memory.limit_in_bytes': '300000000\n',
    'cgroup/memory/a/b/memory.usage_in_bytes': '200000000\n',
    'cgroup/memory/a/b/memory.stat': 'cache 5\ntotal_mapped_file 30000000\ntotal_inactive_file 90000000\ntotal_active_file 40000000\n',
  }))
  expect(tightestLimit(limits)).toEqual({ source: 'cgroup /a/b', limitBytes: 300_000_000, availableBytes: 200_000_000 })
})

test('a version 2 limit above the own group counts, "max" does not', () => {
  const limits = memoryLimits(tree({
    'proc/self/cgroup': '0::/pod/container\n',
    'cgroup/pod/container/memory.max': 'max\n',
    'cgroup/pod/container/memory.current': '1000\n',
    'cgroup/pod/memory.max': '400000000\n',
    'cgroup/pod/memory.high': '350000000\n',
    'cgroup/pod/memory.current': '100000000\n',
    'cgroup/pod/memory.stat': 'inactive_file 10000000\nactive_file 0\nfile_mapped 50000000\n',
  }))
  expect(tightestLimit(limits)).toEqual({ source: 'cgroup /pod', limitBytes: 350_000_000, availableBytes: 250_000_000 })
})

test('the automatic budget leaves a twentieth and the growth of the process', () => {
  const limit = { source: 'x', limitBytes: 2 ** 30, availableBytes: 2 ** 30 }
  expect(autoBudgetBytes(limit)).toBeLessThan(2 ** 30 * 0.95 - 32 * 2 ** 20)
  expect(autoBudgetBytes({ ...limit, availableBytes: 1000 })).toBe(0)
})

test('this machine answers', () => {
  const limit = tightestLimit(memoryLimits())
  expect(limit.availableBytes).toBeGreaterThan(2 ** 20)
  expect(limit.limitBytes).toBeGreaterThanOrEqual(limit.availableBytes)
})
