// What could break: another number than the running total is read, or that of a group that is not ours.
// How we notice: fixtures as the kernel writes them.
import { afterAll, expect, test } from 'vitest'
import { fixture } from './fixture.test.helper.js'
import { memoryStalls } from './memory-pressure.js'

const files = fixture()
afterAll(files.remove)

const psi = (some: number, full: number): string => `some avg10=12.34 avg60=0.00 avg300=0.00 total=${some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=${full}\n`

test('the machine and the own group of version 2 answer with the total of "some"', () => {
  expect(memoryStalls(files.tree({
    'proc/pressure/memory': psi(1234, 99),
    'proc/self/cgroup': '0::/pod/container\n',
    'cgroup/pod/container/memory.pressure': psi(56, 7),
    'cgroup/pod/memory.pressure': psi(1, 1),
  }))).toEqual([{ source: 'machine', someUs: 1234 }, { source: 'cgroup /pod/container', someUs: 56 }])
})

test('a kernel that does not say gives nothing', () => {
  expect(memoryStalls(files.tree({ 'proc/self/cgroup': '5:memory:/a\n' }))).toEqual([])
  expect(memoryStalls(files.tree({ 'proc/pressure/memory': 'some avg10=oops\n' }))).toEqual([])
})
