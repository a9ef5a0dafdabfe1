/**
 * The same model with the last bit of every norm weight flipped: each differs by at most 1.2e-7 of itself, less than two
 * orders of adding up the same row do. How far an engine moves on such a copy is what a difference of rounding is worth.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { openGguf } from '../../ts/gguf/parse.js'

const typeF32 = 0

/** Of a file in one piece. Throws a RangeError when it has no F32 norm weights. */
export async function writeNudgedCopy(source: string, target: string): Promise<void> {
  const { tensors } = await openGguf(source)
  const norms = [...tensors.values()].filter(({ name, type }) => type === typeF32 && name.endsWith('norm.weight'))
  if (norms.length === 0) throw new RangeError(`${source} has no F32 norm weights`)
  const file = readFileSync(source)
  // Little endian: the first byte of a float holds its last bit.
  for (const { offset, bytes } of norms) for (let at = offset; at < offset + bytes; at += 4) file[at]! ^= 1
  writeFileSync(target, file)
}
