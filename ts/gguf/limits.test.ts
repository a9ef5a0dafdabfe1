// What could break: a limit is off by one, or not enforced at all. How we notice: each limit is set to what the tiny file
// has, to one more and to one less; only the last may refuse it, with the rule of its class.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { setKey, tinyFile, tinyGguf } from '../../test/support/tiny-gguf.js'
import { ggufLimits, type GgufLimits } from './limits.js'
import { openGguf } from './parse.js'
import { add, Deadline, mul } from './reader.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-limits-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const path = join(folder, 'model.gguf')
const longest = 'long.string'
writeFileSync(path, tinyGguf((file) => setKey(file, longest, { type: 'string', value: 'x'.repeat(500) })))
const { files: [file], metadata } = await openGguf(path)
const made = tinyFile()
const metadataBytes = metadata.offsetOf(longest)! + 500 - 24

const has: readonly (readonly [keyof GgufLimits, number, string])[] = [
  ['keys', made.keys.length + 1, 'H8'],
  ['keyBytes', Math.max(...made.keys.map(({ key }) => key.length)), 'K1'],
  ['stringBytes', 500, 'K5'],
  ['arrayElements', 48, 'K7'],
  ['metadataBytes', metadataBytes, 'K14'],
  ['tensors', made.tensors.length, 'H7'],
  ['tensorNameBytes', Math.max(...made.tensors.map(({ name }) => name.length)), 'S1'],
  ['dims', 2, 'S2'],
  ['dim', 48, 'S3'],
  ['architectureBytes', 'llama'.length, 'K13'],
]

test.each(has)('%s of %i', async (limit, value, rule) => {
  await openGguf(path, { ...ggufLimits, [limit]: value })
  await openGguf(path, { ...ggufLimits, [limit]: value + 1 })
  await expect(openGguf(path, { ...ggufLimits, [limit]: value - 1 })).rejects.toMatchObject({ details: { rule } })
})

test('parametersPerByte', async () => {
  const weights = made.tensors.reduce((sum, { dims }) => sum + dims.reduce((product, dim) => product * Number(dim), 1), 0)
  const perByte = weights / file!.sizeBytes
  await openGguf(path, { ...ggufLimits, parametersPerByte: perByte + 0.01 })
  await expect(openGguf(path, { ...ggufLimits, parametersPerByte: perByte - 0.01 })).rejects.toMatchObject({ details: { rule: 'S15' } })
})

test('parseMs: a header that takes too long is given up', async () => {
  await expect(openGguf(path, { ...ggufLimits, parseMs: -1 })).rejects.toMatchObject({ details: { rule: 'K11' } })
  let now = 0
  const deadline = new Deadline(5, () => now)
  const place = { path, rule: 'H2', field: 'header' }
  now = 5
  deadline.check(place)
  now = 6
  expect(() => deadline.check(place)).toThrow(expect.objectContaining({ details: expect.objectContaining({ rule: 'K11', found: 6 }) }))
})

test('readTensorBytes', async () => {
  await (await openGguf(path, { ...ggufLimits, readTensorBytes: 128 })).readTensor('output_norm.weight')
  const small = await openGguf(path, { ...ggufLimits, readTensorBytes: 127 })
  await expect(small.readTensor('output_norm.weight')).rejects.toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT' })
})

test('mul and add refuse at the limit and where doubles would round', () => {
  const max = Number.MAX_SAFE_INTEGER
  expect([mul(2, 3, 6), mul(2, 3, 5), mul(2 ** 27, 2 ** 26, max), mul(0, max, max)]).toEqual([6, undefined, undefined, 0])
  expect([add(2, 3, 5), add(2, 3, 4), add(max, 0, max), add(max, 1, max)]).toEqual([5, undefined, max, undefined])
})
