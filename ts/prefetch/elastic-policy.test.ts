// What could break: an engine that shrinks for nothing, too slowly, or for ever up and down; a size that a user named and that
// is not kept; a wish outside of what was loaded.
// How we notice: the policy runs against small worlds, look by look, and what it does there is counted.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ElasticBounds, elasticRefused, elasticStart, elasticStep, type MemorySigns } from './elastic-policy.js'

const mib = 2 ** 20
const bounds: ElasticBounds = { follows: true, leastBytes: 200 * mib, mostBytes: 2000 * mib }
const explicit: ElasticBounds = { ...bounds, follows: false }
const headRoomBytes = 100 * mib
const lookMs = 250

interface Look { readonly ms: number; readonly inForce: number; readonly changed: boolean }
type World = (ms: number, inForce: number) => Partial<Omit<MemorySigns, 'nowMs'>>

/** Every wish comes true at once. Unless the world says otherwise there is room for all and a little, and nobody waits. */
function live(world: World, looks: number, by: ElasticBounds = bounds, from = by.mostBytes): Look[] {
  let state = elasticStart(from)
  return Array.from({ length: looks }, (_, i) => {
    const ms = i * lookMs
    const step = elasticStep(by, state, { nowMs: ms, roomBytes: by.mostBytes, headRoomBytes, starved: false, stalledShare: 0, ...world(ms, state.inForceBytes) })
    state = step.wanted === undefined ? step.state : { ...step.state, inForceBytes: step.wanted.bytes }
    return { ms, inForce: state.inForceBytes, changed: step.wanted !== undefined }
  })
}
const changes = (looks: readonly Look[]): number => looks.filter(({ changed }) => changed).length

describe('shrinking', () => {
  test('nothing happens where nothing is the matter, and while less than half of the head-room is gone', () => {
    expect(changes(live(() => ({}), 1000))).toBe(0)
    expect(changes(live(() => ({ roomBytes: 1951 * mib, stalledShare: 0.09 }), 1000))).toBe(0)
  })

  test('auto goes to a lower limit in one step', () => {
    const [first, ...rest] = live(() => ({ roomBytes: 900 * mib }), 40)
    expect(first!.inForce).toBe(900 * mib)
    expect(changes(rest)).toBe(0)
  })

  test('a size that was named is kept under a lower limit, and gives way to pressure', () => {
    expect(changes(live(() => ({ roomBytes: 900 * mib }), 100, explicit))).toBe(0)
    expect(live(() => ({ stalledShare: 0.5 }), 1, explicit)[0]!.inForce).toBe(1550 * mib)
  })

  test('pressure of unknown size halves the memory within two looks', () => {
    for (const by of [bounds, explicit]) {
      const wanted = 1000 * mib
      const looks = live((_, inForce) => ({ starved: inForce > wanted }), 20, by)
      expect(looks[1]!.inForce).toBeLessThanOrEqual(wanted)
      expect(looks.at(-1)!.inForce).toBe(looks[1]!.inForce)
      expect(looks.at(-1)!.inForce).toBeGreaterThan(600 * mib)
    }
  })

  test('endless pressure ends at the least, and asks for nothing more there', () => {
    const looks = live(() => ({ starved: true, roomBytes: -5000 * mib }), 100)
    expect(looks.at(-1)!.inForce).toBe(bounds.leastBytes)
    expect(changes(looks.slice(20))).toBe(0)
  })
})

describe('growing', () => {
  test('waits for calm, then comes back in steps of an eighth, to the last byte', () => {
    const looks = live((ms) => (ms === 0 ? { roomBytes: 500 * mib } : { roomBytes: 3000 * mib }), 400)
    const grown = looks.slice(1).filter(({ changed }) => changed)
    expect(grown[0]!.ms).toBeGreaterThanOrEqual(10_000)
    expect(grown).toHaveLength(6)
    for (let i = 1; i < grown.length; i++) expect(grown[i]!.ms - grown[i - 1]!.ms).toBeGreaterThanOrEqual(1000)
    expect(looks.at(-1)!.inForce).toBe(bounds.mostBytes)
  })

  test('goes no further than there is room, head-room left', () => {
    const looks = live((ms) => ({ roomBytes: ms === 0 ? 500 * mib : 1100 * mib }), 1000)
    expect(looks.at(-1)!.inForce).toBe(1000 * mib)
  })

  test('that meets pressure each time is tried ever less often', () => {
    // A cgroup v1 limit that somebody goes on trying to lower: nobody sees it but by starving.
    const looks = live((_, inForce) => ({ starved: inForce > 1200 * mib, roomBytes: 2500 * mib }), 4 * 3600)
    expect(changes(looks.slice(100))).toBeLessThan(30)
    expect(looks.at(-1)!.inForce).toBeLessThanOrEqual(1200 * mib)
  })

  test('that was refused waits like after trouble', () => {
    const refused = elasticRefused({ ...elasticStart(1000 * mib), grewMs: 5 }, 10)
    const signs = { roomBytes: 3000 * mib, headRoomBytes, starved: false, stalledShare: 0 }
    expect(elasticStep(bounds, refused, { ...signs, nowMs: 10_000 }).wanted).toBeUndefined()
    expect(elasticStep(bounds, refused, { ...signs, nowMs: 20_011 }).wanted?.reason).toBe('room')
  })
})

test('whatever is seen, wishes lie between the least and the most and differ from what is in force', () => {
  const anySigns = fc.record({ roomBytes: fc.integer({ min: -4000, max: 4000 }).map((n) => n * mib), starved: fc.boolean(), stalledShare: fc.double({ min: 0, max: 1, noNaN: true }) })
  fc.assert(fc.property(fc.array(anySigns, { minLength: 1, maxLength: 60 }), fc.boolean(), (all, follows) => {
    let before = bounds.mostBytes
    for (const { inForce, changed } of live((ms) => all[ms / lookMs]!, all.length, { ...bounds, follows })) {
      expect(inForce).toBeGreaterThanOrEqual(bounds.leastBytes)
      expect(inForce).toBeLessThanOrEqual(bounds.mostBytes)
      expect(changed).toBe(inForce !== before)
      before = inForce
    }
  }))
})
