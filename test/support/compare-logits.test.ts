// What could break: the yardstick of parity itself: a divergence the wrong way round, a perplexity ratio of the wrong sign, an
// error that is not of the paired differences.
// How we notice: distributions small enough to compute by hand, and one engine that is surer than the other.
import { expect, test } from 'vitest'
import { AgreementMeter } from './compare-logits.js'

const logits = (...shares: number[]): Float32Array => Float32Array.from(shares, (share) => Math.log(share) + 5)

test('two rows by hand', () => {
  const meter = new AgreementMeter()
  meter.add(logits(0.5, 0.25, 0.25), logits(0.25, 0.5, 0.25), 0)
  meter.add(logits(0.5, 0.25, 0.25), logits(0.5, 0.25, 0.25), 1)
  meter.add(logits(0.1, 0.1, 0.8), logits(0.1, 0.1, 0.8)) // what follows is not known
  const found = meter.result()
  const kl = 0.5 * Math.log(2) + 0.25 * Math.log(0.5)
  expect(found.positions).toBe(3)
  expect(found.meanKl).toBeCloseTo(kl / 3, 6)
  expect(found.maxKl).toBeCloseTo(kl, 6)
  expect(found.sameTop).toBeCloseTo(2 / 3, 12)
  // The reference gave 1/2 and 1/4 to what came, ours 1/4 and 1/4: its perplexity is sqrt(8), ours 4.
  expect(found.perplexity).toBeCloseTo(Math.sqrt(8), 5)
  expect(found.lnPerplexityRatio).toBeCloseTo(Math.log(4 / Math.sqrt(8)), 6)
  expect(found.lnPerplexityRatioError).toBeCloseTo(Math.log(2) / 2, 6)
})

test('equal rows are equal, and without a next token there is no perplexity', () => {
  const meter = new AgreementMeter()
  const row = logits(0.2, 0.3, 0.5)
  for (let i = 0; i < 4; i++) meter.add(row, row)
  expect(meter.result()).toMatchObject({ meanKl: 0, maxKl: 0, sameTop: 1, nmse: 0, perplexity: NaN, lnPerplexityRatio: NaN })
})
