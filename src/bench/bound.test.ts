// What could break: the bound counts the slower side wrongly, a prompt's chunks all with the output head, a mixture by its plan
// instead of by what it missed; a red flag that never rises.
// How we notice: a drive and a processor simulated step by step, overlapped without loss, need exactly the bound's time.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { boundOf, decodeBytes, isFasterThanBound, jointSeconds, promptBytes } from './bound.js'

const reads = fc.record({ streamedBytes: fc.integer({ min: 1, max: 1e9 }), head: fc.double({ min: 0, max: 1, noNaN: true }) })
  .map(({ streamedBytes, head }) => ({ streamedBytes, streamedHeadBytes: Math.floor(streamedBytes * head), streamedBands: 7, meanReadBytes: 1e6, expertsPerToken: 0 }))

test('reads and compute that overlap without loss take the bound\'s time', () => {
  fc.assert(fc.property(reads, fc.integer({ min: 1, max: 20 }), fc.double({ min: 1e6, max: 1e10, noNaN: true }), fc.double({ min: 1e-6, max: 10, noNaN: true }), (plan, sweeps, bytesPerSecond, computeSeconds) => {
    let driveFree = 0
    let processorFree = 0
    for (let sweep = 0; sweep < sweeps; sweep++) {
      driveFree += plan.streamedBytes / bytesPerSecond
      processorFree += computeSeconds
    }
    const found = boundOf({ bytes: decodeBytes(plan, sweeps, 0), bytesPerSecond, computeSeconds: sweeps * computeSeconds, tokens: sweeps })!
    expect(sweeps / found.tokensPerSecond).toBeCloseTo(Math.max(driveFree, processorFree), 6)
    expect(found.side).toBe(driveFree > processorFree ? 'disk' : 'compute')
  }))
})

test('only the last chunk of a prompt reads the head', () => {
  fc.assert(fc.property(reads, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), (plan, prompts, chunks) => {
    let sum = 0
    for (let prompt = 0; prompt < prompts; prompt++) for (let chunk = 0; chunk < chunks; chunk++) sum += plan.streamedBytes - (chunk === chunks - 1 ? 0 : plan.streamedHeadBytes)
    expect(promptBytes(plan, prompts, chunks, 123)).toBe(sum)
  }))
})

test('a mixture is held against what it missed', () => {
  const plan = { streamedBytes: 100, streamedHeadBytes: 10, streamedBands: 1, meanReadBytes: 1, expertsPerToken: 8 }
  expect([decodeBytes(plan, 5, 777), promptBytes(plan, 2, 3, 555)]).toEqual([777, 555])
})

test('without B there is no bound, unless nothing has to be read', () => {
  expect(boundOf({ bytes: 1, bytesPerSecond: undefined, computeSeconds: 1, tokens: 1 })).toBeUndefined()
  expect(boundOf({ bytes: 0, bytesPerSecond: undefined, computeSeconds: 2, tokens: 8 })).toEqual({ tokensPerSecond: 4, side: 'compute' })
})

test('the flag rises above the bound, not at it', () => {
  const bound = { tokensPerSecond: 100, side: 'disk' as const }
  expect([99, 100, 100.9, 101.1, 500].map((speed) => isFasterThanBound(speed, bound))).toEqual([false, false, false, true, true])
})

test('reading and computing that slow each other take as long as step by step', () => {
  const share = fc.double({ min: 0.55, max: 1, noNaN: true })
  const seconds = fc.double({ min: 0, max: 3, noNaN: true })
  fc.assert(fc.property(seconds, seconds, share, share, (read, compute, reading, computing) => {
    let [readLeft, computeLeft, time] = [read, compute, 0]
    for (const step = 1e-3; readLeft > 0 || computeLeft > 0; time += step) {
      const both = readLeft > 0 && computeLeft > 0
      readLeft -= step * (both ? reading : 1)
      computeLeft -= step * (both ? computing : 1)
    }
    expect(Math.abs(jointSeconds(read, compute, { reading, computing }) - time)).toBeLessThan(5e-3)
  }))
})

test('neither helps the other: without interference the longer decides, with too much of it they take turns', () => {
  expect(jointSeconds(3, 2, { reading: 1, computing: 1 })).toBe(3)
  expect(jointSeconds(3, 2, { reading: 0.3, computing: 0.4 })).toBe(5)
})
