// What could break: a download that ended anywhere is taken for a model, or one flipped bit crashes or hangs the parser.
// How we notice: every prefix of the tiny files is refused, every flip of a header bit is refused or opens sanely.
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HypuraError } from '../../ts/base/errors.js'
import { openGguf } from '../../ts/gguf/parse.js'
import type { GgufModel } from '../../ts/gguf/types.js'
import { cpuMs, descriptorsOf, msMax, temporaryFolder } from '../support/malformed.js'
import { tinyGguf } from '../support/tiny-gguf.js'

const folder = temporaryFolder()

test.each(['dense', 'moe'] as const)('H2 every prefix of the %s file is refused', { timeout: 300_000 }, async (kind) => {
  const bytes = tinyGguf(undefined, kind)
  const path = join(folder, `${kind}.gguf`)
  writeFileSync(path, bytes)
  const header = (await openGguf(path)).files[0]!.dataOffset
  const fd = openSync(path, 'r+')
  const rules = new Map<unknown, number>()
  // Behind the header a prefix is like its neighbours: every 13th will do for the larger file.
  const step = (length: number): number => (kind === 'moe' && length > header ? 13 : 1)
  for (let length = bytes.length - 1; length >= 0; length -= step(length)) {
    ftruncateSync(fd, length)
    const error: unknown = await openGguf(path).then(() => `accepted ${length} bytes`, (reason: unknown) => reason)
    expect(error).toBeInstanceOf(HypuraError)
    const { details, message } = error as HypuraError
    expect(details['rule'], message).toMatch(/^(?:H1|H2|H7|H8|K1|K5|K6|K7|S11|S15)$/)
    rules.set(details['rule'], (rules.get(details['rule']) ?? 0) + 1)
  }
  closeSync(fd)
  console.log(`prefixes of the ${kind} file: ${[...rules].map(([rule, count]) => `${rule} ${count}`).join(', ')}`)
  expect(descriptorsOf(path)).toEqual([])
})

test('every single-bit flip of the header is refused or opens sanely', { timeout: 300_000 }, async () => {
  const bytes = tinyGguf()
  const path = join(folder, 'flipped.gguf')
  writeFileSync(path, bytes)
  const header = (await openGguf(path)).files[0]!.dataOffset
  const fd = openSync(path, 'r+')
  const outcomes = { refused: 0, opened: 0 }
  for (let bit = 0; bit < 8 * header; bit++) {
    const at = bit >> 3
    writeSync(fd, Uint8Array.of(bytes[at]! ^ (1 << (bit & 7))), 0, 1, at)
    const begin = cpuMs()
    try {
      readEverything(await openGguf(path))
      outcomes.opened++
    } catch (error) {
      expect(error, `bit ${bit}`).toBeInstanceOf(HypuraError)
      expect((error as HypuraError).code, `bit ${bit}`).not.toBe('ERR_HYPURA_BUG')
      outcomes.refused++
    }
    expect(cpuMs() - begin, `bit ${bit}`).toBeLessThan(msMax)
    writeSync(fd, bytes, at, 1, at)
  }
  closeSync(fd)
  console.log(`bit flips: ${outcomes.refused} refused, ${outcomes.opened} opened`)
  expect(outcomes.refused).toBeGreaterThan(0)
  expect(descriptorsOf(path)).toEqual([])
})

/** Whatever opened must lie inside its file and be readable through the typed readers. */
function readEverything({ metadata, tensors, files }: GgufModel): void {
  for (const key of metadata.keys()) metadata.preview(key)
  for (const { offset, bytes, file } of tensors.values()) expect(offset + bytes).toBeLessThanOrEqual(files[file]!.sizeBytes)
}
