// What could break: an inline function of a shared header, compiled with AVX2 or AVX-512 flags, is the copy that the linker keeps for
// everybody, and an older processor dies of an illegal instruction (invariant I15).
// How we notice: the object files of an ISA folder define nothing that another file could share.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkoutRoot } from '../scripts/tidy.js'

/** Another processor's build is looked at where there is one, as after `npm run test:arm64`. */
const folderOf = (arch: string, isa: string): string =>
  join(checkoutRoot, arch === process.arch ? 'build/cmake' : `build/${arch}`, 'CMakeFiles/hypura_kernels.dir/native/kernels', isa)
const folders = ([['x64', 'avx2', 7], ['x64', 'avxvnni', 2], ['x64', 'avx512vnni', 4], ['x64', 'amx_int8', 2], ['arm64', 'neon_dotprod', 7], ['arm64', 'neon_i8mm', 2]] as const)
  .map(([arch, isa, least]) => [isa, folderOf(arch, isa), least] as const)

/** Letters of nm for symbols that are merged with others of the same name: weak, unique, common. */
const shared = /^[\da-f]* *[WwVvuC] (.+)$/

test('this processor has objects to look at', () => expect(folders.some(([, folder]) => existsSync(folder))).toBe(true))

describe.each(folders.filter(([, folder]) => existsSync(folder)))('objects of %s', (isa, folder, least) => {
  const objects = readdirSync(folder).filter((name) => name.endsWith('.o'))
  test('there are some', () => expect(objects.length).toBeGreaterThanOrEqual(least))

  test.each(objects)('%s shares no symbol', (name) => {
    const symbols = execFileSync('nm', ['--defined-only', '-C', join(folder, name)], { encoding: 'utf8' }).split('\n')
    expect(symbols.filter((line) => shared.test(line))).toEqual([])
    const functions = symbols.filter((line) => / T /.test(line)).map((line) => line.split(' T ')[1]!)
    expect(functions.length).toBeGreaterThan(0)
    expect(functions.filter((symbol) => !symbol.startsWith(`hypura::kernels::${isa}::`))).toEqual([])
  })
})
