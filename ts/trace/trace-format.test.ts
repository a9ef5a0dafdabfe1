// What could break: a trace that is cut, damaged or forged is believed, or makes a reader spend memory on what is not there; a recorder
// that writes sweeps of which records were lost.
// How we notice: random traces come back as they were, every prefix and every flipped bit of one is refused by name and offset, headers
// with absurd counts are refused at once, and a collector is fed with events of which some are missing.
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HypuraError } from '../base/errors.js'
import type { EngineEvent } from '../prefetch/events.js'
import { parseTrace } from './parse-trace.js'
import { routeCollector } from './route-collector.js'
import type { TraceModel } from './trace.js'
import { type RoutedSweep, traceWriter } from './trace-writer.js'

const modelOf = (nExpert: number, nExpertUsed: number, layers: number, lead = 0): TraceModel => ({
  architecture: 'qwen3moe', name: 'größe', sha256: 'ab'.repeat(32), nLayer: layers + lead, nLayerDenseLead: lead, nExpert, nExpertUsed,
  expertBytes: Float64Array.from({ length: layers * nExpert }, (_, i) => 4096 * (1 + (i % 300))), besideBytes: 12_345_678,
})

interface Written {
  readonly bytes: Uint8Array
  readonly sweeps: number
}
function write(model: TraceModel, steps: readonly (RoutedSweep | number)[], lost = 0): Written {
  const pieces: Uint8Array[] = []
  const writer = traceWriter(model, (bytes) => pieces.push(bytes.slice()))
  for (const step of steps) typeof step === 'number' ? writer.skip(step) : writer.add(step)
  writer.end(lost)
  return { bytes: Uint8Array.from(Buffer.concat(pieces)), sweeps: writer.sweeps }
}

const shape = fc.record({ nExpert: fc.constantFrom(4, 16, 257, 300), layers: fc.integer({ min: 1, max: 3 }), lead: fc.nat(2) }).map((given) => ({ ...given, nExpertUsed: 2 }))
const anyTrace = shape.chain((given) => {
  const ids = fc.nat(given.nExpert - 1)
  const choice = fc.uniqueArray(ids, { minLength: 2, maxLength: 2 })
  const union = fc.uniqueArray(ids, { minLength: 2, maxLength: 4 })
  const compute = fc.nat(2 ** 31)
  const sweep = fc.oneof(
    fc.record({ positions: fc.constant(1), computeMicroseconds: compute, experts: fc.array(choice, { minLength: given.layers, maxLength: given.layers }) }),
    fc.record({ positions: fc.integer({ min: 2, max: 512 }), computeMicroseconds: compute, experts: fc.array(union, { minLength: given.layers, maxLength: given.layers }) }),
  )
  return fc.record({ given: fc.constant(given), steps: fc.array(fc.oneof({ weight: 5, arbitrary: sweep }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }) }), { maxLength: 20 }) })
})

test('what is written is read back', () => {
  fc.assert(fc.property(anyTrace, fc.nat(99), ({ given, steps }, lost) => {
    const model = modelOf(given.nExpert, given.nExpertUsed, given.layers, given.lead)
    const trace = parseTrace(write(model, steps, lost).bytes, 'a.trace')
    expect(trace.model).toEqual(model)
    const sweeps = steps.filter((step) => typeof step !== 'number')
    expect(trace.sweeps).toBe(sweeps.length)
    expect(trace.lostEvents).toBe(lost)
    expect(trace.skippedSweeps).toBe(steps.reduce<number>((sum, step) => sum + (typeof step === 'number' ? step : 0), 0))
    let at = 0
    let gap = false
    for (const step of steps) {
      if (typeof step === 'number') {
        gap = true
        continue
      }
      expect(trace.positions(at)).toBe(step.positions)
      expect(trace.computeMicroseconds(at)).toBe(step.computeMicroseconds)
      expect(trace.followsGap(at)).toBe(gap)
      gap = false
      step.experts.forEach((chosen, layer) => {
        expect([...trace.experts(at, layer)]).toEqual(step.positions === 1 ? chosen : chosen.toSorted((a, b) => a - b))
      })
      at++
    }
  }), { numRuns: 60 })
})

const sweep = (...experts: number[][]): RoutedSweep => ({ positions: 1, computeMicroseconds: 300, experts })
const small = write(modelOf(16, 2, 2), [sweep([1, 2], [3, 4]), 2, sweep([15, 0], [7, 8]), { positions: 9, computeMicroseconds: 5, experts: [[0, 1, 2], [4, 5]] }]).bytes

function refused(bytes: Uint8Array): HypuraError {
  try {
    parseTrace(bytes, 'a.trace')
  } catch (error) {
    return error as HypuraError
  }
  throw new Error('it was accepted')
}

test('every prefix and every flipped bit is refused, with a place', () => {
  for (let length = 0; length < small.length; length++) expect(refused(small.subarray(0, length))).toMatchObject({ code: 'ERR_HYPURA_CORRUPT_TRACE' })
  expect(refused(Uint8Array.of(...small, 0)).message).toContain('behind its end')
  for (let bit = 0; bit < small.length * 8; bit++) {
    const changed = small.slice()
    changed[bit >> 3]! ^= 1 << (bit & 7)
    const { code, message } = refused(changed)
    expect(code).toBe('ERR_HYPURA_CORRUPT_TRACE')
    expect(message).toMatch(/byte \d+/)
  }
})

/** A changed file whose sum is right: damage is told by the sum, forgery must be told by the rules. */
function forged(at: number, ...values: number[]): Uint8Array {
  const bytes = small.slice()
  bytes.set(values, at)
  new DataView(bytes.buffer).setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true)
  return bytes
}

test.each([
  ['format', 4, [9], 'trace format 9'], ['no layers', 12, [0, 0], '0 layers'], ['only dense layers', 14, [2, 0], 'no mixture layer'], ['no experts', 16, [0, 0], 'no experts'],
  ['more used than there are', 18, [17, 0], 'uses 17 of 16'], ['a million experts that are not there', 12, [16, 0, 0, 0, 0xff, 0xff], 'cut short'], ['a reserved field', 20, [1], 'reserved'],
  ['a text of 64 KiB', 64, [0xff, 0xff], 'at most 256'], ['memory beyond all numbers', 24, [255, 255, 255, 255, 255, 255, 255, 255], 'more memory'],
])('forged: %s', (_, at, values, says) => {
  const begin = performance.now()
  expect(refused(forged(at, ...values)).message).toContain(says)
  expect(performance.now() - begin).toBeLessThan(1000)
})

test('a sweep of which records are missing is left out, and the next one follows a gap', () => {
  const model = modelOf(16, 2, 2)
  const route = (number: number, layer: number, experts: number[]): EngineEvent => ({ kind: 'route', timeNs: 0, sweep: number, layer, experts })
  const end = (number: number, positions = 1): EngineEvent => ({ kind: 'token', timeNs: 0, sweep: number, layer: undefined, token: 1, positions, computeMicroseconds: 7, stallMicroseconds: 1 })
  const pieces: Uint8Array[] = []
  const writer = traceWriter(model, (bytes) => pieces.push(bytes.slice()))
  const collector = routeCollector(model, writer)
  collector.observe([route(1, 0, [1, 2]), route(1, 1, [3, 4])], false)
  collector.observe([end(1), route(2, 0, [1, 2]), end(2), route(3, 0, [5, 6]), route(3, 1, [7, 8]), end(3)], false) // 2 lost a layer
  collector.observe([route(6, 0, [1, 2, 3]), route(6, 1, [4, 5]), end(6, 40)], true) // 4 and 5 are gone; what of 6 is, nobody knows
  collector.observe([route(7, 0, [1, 2, 3]), route(7, 1, [4, 5]), end(7, 40), route(8, 0, [1, 2])], false)
  collector.end()
  writer.end(5)
  const trace = parseTrace(Uint8Array.from(Buffer.concat(pieces)), 'a.trace')
  expect([trace.sweeps, trace.skippedSweeps, trace.lostEvents]).toEqual([3, 5, 5])
  expect([0, 1, 2].map((at) => trace.followsGap(at))).toEqual([false, true, true])
  expect([...trace.experts(1, 1)]).toEqual([7, 8])
  expect([trace.positions(2), ...trace.experts(2, 0)]).toEqual([40, 1, 2, 3])
})
