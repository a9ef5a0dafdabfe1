// What could break: a record changes in C++ and layout.gen.ts is not made anew, so that TypeScript writes bytes to places
// where native code reads something else. How we notice: the compiled layout is printed again and compared as text.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { findLayoutDump, layoutPath, renderLayout, runLayoutDump } from '../../scripts/gen-layout.js'
import { abiVersion, counterCount, counterIndex, layout, nativeCode } from './layout.gen.js'
import { nativeCodes } from './native-binding.js'

const program = findLayoutDump()

test.skipIf(program === undefined)('layout.gen.ts is what the compiler says (skipped where the native build is absent)', () => {
  const dump = runLayoutDump(program!)
  expect(readFileSync(layoutPath, 'utf8'), 'run: node dist/scripts/gen-layout.js').toBe(renderLayout(dump))
  expect(dump.abiVersion).toBe(abiVersion)
})

test('fields lie inside their records, without overlap, and naturally aligned', () => {
  const widths: Record<string, number> = { u8: 1, u16: 2, u32: 4, u64: 8, i64: 8, f32: 4, f64: 8 }
  for (const [name, { size, fields }] of Object.entries(layout)) {
    let end = 0
    for (const [field, { offset, type }] of Object.entries(fields)) {
      const width = widths[type]!
      expect(offset % width, `${name}.${field}`).toBe(0)
      expect(offset, `${name}.${field}`).toBeGreaterThanOrEqual(end)
      end = offset + width
    }
    expect(end, name).toBeLessThanOrEqual(size)
  }
})

test('numbers are dense where programs index by them', () => {
  expect(Object.values(counterIndex)).toEqual(Array.from({ length: counterCount }, (_, i) => i))
  expect(Object.keys(nativeCode)).toEqual(nativeCodes)
  expect(Object.values(nativeCode)).toEqual(nativeCodes.map((_, i) => i))
})
