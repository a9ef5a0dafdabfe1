// What could break: what was learnt of another model, or by a stranger, moves into plans; a file that is broken ends a run; text leaves
// the process. How we notice: files with each value changed are ignored with one sentence and made anew, and the next statistics are those
// that were saved.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test, vi } from 'vitest'
import { fakeFamily, tinyMixture } from '../../test/support/fake-families.js'
import { fakeModel } from '../../test/support/fake-model.js'
import { buildManifest } from '../manifest/block-manifest.js'
import { accessStats } from '../prefetch/access-stats.js'
import { habitsOf } from './expert-habits.js'
import { writeState } from './state-store.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-habits-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
beforeEach(() => void vi.stubEnv('HYPURA_STATE_DIR', folder))

const manifest = await buildManifest(fakeModel(fakeFamily({ ...tinyMixture, nExpert: 8, nExpertUsed: 2, nLayer: 2 })))
const { count, first } = manifest.experts
const identity = 'c0ffee'.repeat(12).slice(0, 64)

test('rates come back, but weigh no more than a few sentences', () => {
  const stats = accessStats(manifest)
  for (let sweep = 1; sweep <= 300; sweep++) stats.observe([0, 1].map((layer) => ({ kind: 'route' as const, timeNs: 0, sweep, layer, experts: [layer, sweep % 8] })))
  const habits = habitsOf(identity, count)
  expect(habits).toMatchObject({ before: undefined, warning: undefined })
  expect(habits.save(stats.save())).toBeUndefined()
  const { before } = habitsOf(identity, count)
  const next = accessStats(manifest, before)
  expect(next.evidence()).toBeCloseTo(20, 3)
  const { uses, sweeps } = stats.save()
  uses.forEach((used, index) => expect(next.usesPerToken()[first + index]).toBeCloseTo(Math.min(1, ((used * 20) / sweeps + (8 * 2) / 8) / (20 + 8)), 5))
  // A few hundred sweeps of other habits, and the old ones are gone.
  for (let sweep = 1; sweep <= 800; sweep++) next.observe([{ kind: 'route', timeNs: 0, sweep, layer: 0, experts: [6, 7] }])
  expect(next.usesPerToken()[first]!).toBeLessThan(0.05)
})

test('too little is not kept', () => {
  expect(habitsOf('ab'.repeat(32), count).save({ uses: new Float32Array(count), sweeps: 3 })).toBeUndefined()
  expect(habitsOf('ab'.repeat(32), count).before).toBeUndefined()
})

test('what another model or a stranger wrote is ignored with one sentence, and replaced', () => {
  const name = `experts/${identity.slice(0, 32)}`
  const good = { version: 1, uses: new Float32Array(count).fill(1), sweeps: 20 }
  const changed = (at: number, value: number): Float32Array => {
    const uses = good.uses.slice()
    uses[at] = value
    return uses
  }
  for (const bad of [
    { ...good, version: 2 }, { ...good, uses: good.uses.subarray(1).slice() }, { ...good, uses: Array.from(good.uses) }, { ...good, uses: changed(0, NaN) }, { ...good, uses: changed(1, -1) },
    { ...good, uses: changed(2, Infinity) }, { ...good, sweeps: 0 }, { ...good, sweeps: NaN }, { ...good, text: 'x' }, [], 'x', null,
  ]) {
    writeState(name, 'expert-use', bad)
    const habits = habitsOf(identity, count)
    expect(habits.before).toBeUndefined()
    expect(habits.warning).toMatch(/was ignored: .* made anew/)
  }
  writeFileSync(join(folder, name), 'no state at all')
  const habits = habitsOf(identity, count)
  expect(habits.warning).toContain('no state file')
  habits.save(good)
  expect(habitsOf(identity, count)).toMatchObject({ before: { sweeps: 20 }, warning: undefined })
})
