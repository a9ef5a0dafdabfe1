// What could break: an inline function of a shared header, compiled with AVX2 or AVX-512 flags, is the copy that the linker keeps for
// everybody, and an older processor dies of an illegal instruction (invariant I15).
// How we notice: the object files of an ISA folder define nothing that another file could share.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkoutRoot } from '../scripts/tidy.js'

const kernels = join(checkoutRoot, 'build/cmake/CMakeFiles/hypura_kernels.dir/native/kernels')

/** Letters of nm for symbols that are merged with others of the same name: weak, unique, common. */
const shared = /^[\da-f]* *[WwVvuC] (.+)$/

describe.skipIf(process.arch !== 'x64' || !existsSync(kernels)).each([['avx2', 9], ['avx512vnni', 6]] as const)('objects of %s', (isa, least) => {
  const objects = readdirSync(join(kernels, isa)).filter((name) => name.endsWith('.o'))
  test('there are some', () => expect(objects.length).toBeGreaterThanOrEqual(least))

  test.each(objects)('%s shares no symbol', (name) => {
    const symbols = execFileSync('nm', ['--defined-only', '-C', join(kernels, isa, name)], { encoding: 'utf8' }).split('\n')
    expect(symbols.filter((line) => shared.test(line))).toEqual([])
    const functions = symbols.filter((line) => / T /.test(line)).map((line) => line.split(' T ')[1]!)
    expect(functions.length).toBeGreaterThan(0)
    expect(functions.filter((symbol) => !symbol.startsWith(`hypura::kernels::${isa}::`))).toEqual([])
  })
})
