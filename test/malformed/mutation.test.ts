// What could break: combinations of damage that no table lists crash or hang the parser. How we notice: fields of the
// tiny files are changed at random, the rest fixed up or not; each file must be refused with rule and place, or open
// with every tensor inside the file. HYPURA_SEED repeats a run; fast-check shrinks a failure and prints its seed.
import fc from 'fast-check'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HypuraError } from '../../ts/base/errors.js'
import { openGguf } from '../../ts/gguf/parse.js'
import { cpuMs, descriptorsOf, msMax, temporaryFolder } from '../support/malformed.js'
import { encodeTiny, tinyFile, type TinyFile } from '../support/tiny-gguf.js'

const folder = temporaryFolder()
const path = join(folder, 'mutated.gguf')
const seed = Number(process.env['HYPURA_SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff))
const runs = Number(process.env['HYPURA_RUNS'] ?? 1_500)

const borders64 = [0n, 1n, 2n, 31n, 32n, 33n, 255n, 65_536n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]
const border64 = fc.oneof(fc.constantFrom(...borders64), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
const border32 = fc.oneof(fc.constantFrom(...borders64.slice(0, 10).map(Number)), fc.nat(50))
const bytes = fc.uint8Array({ maxLength: 40 })

type Mutation = (file: TinyFile) => void
const pick = <T>(list: readonly T[], at: number): T => list[at % list.length]!

/** One change to one named field. Positions are taken modulo what is there. */
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  border64.map((value): Mutation => (file) => { file.tensorCount = value }),
  border64.map((value): Mutation => (file) => { file.keyCount = value }),
  border32.map((value): Mutation => (file) => { file.version = value }),
  fc.constantFrom(1, 2, 64).map((value): Mutation => (file) => { file.alignment = value }),
  fc.tuple(fc.nat(), bytes).map(([at, value]): Mutation => (file) => { if (file.keys.length > 0) pick(file.keys, at).key = value }),
  fc.tuple(fc.nat(), border64).map(([at, value]): Mutation => (file) => { if (file.keys.length > 0) pick(file.keys, at).keyBytes = value }),
  fc.tuple(fc.nat(), border32).map(([at, value]): Mutation => (file) => { if (file.keys.length > 0) pick(file.keys, at).type = value }),
  fc.tuple(fc.nat(), bytes).map(([at, value]): Mutation => (file) => { if (file.keys.length > 0) pick(file.keys, at).payload = value }),
  fc.tuple(fc.nat(), fc.nat()).map(([from, to]): Mutation => (file) => { if (file.keys.length > 0) file.keys.splice(to % file.keys.length, 0, pick(file.keys, from)) }),
  fc.nat().map((at): Mutation => (file) => { file.keys.splice(at % (file.keys.length + 1), 1) }),
  fc.tuple(fc.nat(), bytes).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).name = value }),
  fc.tuple(fc.nat(), border64).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).nameBytes = value }),
  fc.tuple(fc.nat(), border32).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).nDims = value }),
  fc.tuple(fc.nat(), fc.array(border64, { maxLength: 5 })).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).dims = value }),
  fc.tuple(fc.nat(), border32).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).type = value }),
  fc.tuple(fc.nat(), border64).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).offset = value }),
  fc.tuple(fc.nat(), bytes).map(([at, value]): Mutation => (file) => { if (file.tensors.length > 0) pick(file.tensors, at).data = value }),
  fc.tuple(fc.nat(), fc.nat()).map(([from, to]): Mutation => (file) => { if (file.tensors.length > 0) file.tensors.splice(to % file.tensors.length, 0, pick(file.tensors, from)) }),
  bytes.map((value): Mutation => (file) => { file.tail = value }),
)

/** Bytes overwritten after the file was made, wherever they fall. */
const overwrite = fc.tuple(fc.nat(), fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 8 }), fc.constantFrom(new Uint8Array(8).fill(255), new Uint8Array(8))))

test(`random damage, seed ${seed}`, { timeout: 300_000 }, async () => {
  console.log(`mutation: HYPURA_SEED=${seed}, ${runs} files`)
  const outcomes = { refused: 0, opened: 0 }
  const damage = fc.tuple(fc.constantFrom('dense' as const, 'moe' as const), fc.array(mutation, { minLength: 1, maxLength: 3 }), fc.array(overwrite, { maxLength: 2 }))
  await fc.assert(fc.asyncProperty(damage, async ([kind, mutations, overwrites]) => {
    const file = tinyFile(kind)
    for (const mutate of mutations) mutate(file)
    const made = encodeTiny(file).slice()
    for (const [at, value] of overwrites) made.set(value, Math.min(at % made.length, made.length - value.length))
    writeFileSync(path, made)
    outcomes[await outcome()]++
  }), { seed, numRuns: runs })
  console.log(`mutation: ${outcomes.refused} refused, ${outcomes.opened} opened`)
  expect(outcomes.refused).toBeGreaterThan(runs / 4)
  expect(descriptorsOf(path)).toEqual([])
})

async function outcome(): Promise<'refused' | 'opened'> {
  const begin = cpuMs()
  try {
    const { metadata, tensors, files } = await openGguf(path)
    for (const key of metadata.keys()) metadata.preview(key)
    for (const { offset, bytes: length } of tensors.values()) expect(offset + length).toBeLessThanOrEqual(files[0]!.sizeBytes)
    return 'opened'
  } catch (error) {
    if (!(error instanceof HypuraError)) throw error
    expect(error.code).not.toBe('ERR_HYPURA_BUG')
    expect(error.details['rule']).toMatch(/^[HKSF]\d+$/)
    expect(error.details['field']).toBeTypeOf('string')
    return 'refused'
  } finally {
    expect(cpuMs() - begin).toBeLessThan(msMax)
  }
}
