// What could break: an import against the layer table slips in, and the architecture is a drawing from then on.
// How we notice: the checker runs over the checkout, and over copies with one violation planted in each, which it must name.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { checkoutRoot, checkTree } from '../scripts/tidy.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-tidy-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the checkout keeps its own rules', () => {
  const report = checkTree(checkoutRoot).map(({ file, line, rule }) => `${file}:${line}: ${rule}`)
  expect(report).toEqual([])
})

const planted: readonly [name: string, file: string, text: string, rule: RegExp][] = [
  ['a native layer that looks up', 'native/kernels/up.cpp', '#include "native/scheduler/block_cache.h"\n', /native\/kernels must not import native\/scheduler/],
  ['the decoder behind the cache', 'native/model/behind.cpp', '#include "native/scheduler/plan.h"\n', /block_cache\.h of the scheduler and nothing else/],
  ['an include not from the root', 'native/base/near.cpp', '#include "status.h"\n', /not a path from the root/],
  ['a shared inline in an ISA file', 'native/kernels/avx2/shared.cpp', '#include <vector>\n', /ISA file includes/],
  ['policy that reads the clock of the engine', 'ts/prefetch/up.ts', "import { x } from '../engine/index.js'\n", /ts\/prefetch must not import ts\/engine/],
  ['an import over several lines', 'ts/manifest/many.ts', "import {\n  a,\n  b,\n} from '../prefetch/planner.js'\n", /ts\/manifest must not import ts\/prefetch/],
  ['a re-export upwards', 'ts/base/up.ts', "export * from '../gguf/types.js'\n", /ts\/base must not import ts\/gguf/],
  ['a dynamic import', 'ts/base/late.ts', "const x = await import('../gguf/types.js')\n", /ts\/base must not import ts\/gguf/],
  ['fs outside its one file', 'ts/gguf/sneaky.ts', "import { readFileSync } from 'node:fs'\n", /only file-source\.ts touches fs/],
  ['a built-in that is not listed', 'ts/prefetch/clock.ts', "import { hrtime } from 'node:process'\n", /ts\/prefetch must not import node:process/],
  ['a package that is not listed', 'ts/engine/package.ts', "import lodash from 'lodash'\n", /must not import the package lodash/],
  ['a command behind the public door', 'src/back.ts', "import { x } from '../ts/engine/model.js'\n", /ts\/engine\/index\.ts only/],
  ['a folder nobody declared', 'ts/misc/thing.ts', 'export const x = 1\n', /belongs to a module/],
  ['a default export', 'ts/base/default.ts', 'export default 1\n', /no default export/],
  ['a leftover', 'ts/base/left.ts', '// TO' + 'DO: later\n', /no leftovers/],
  ['a file of two ideas', 'ts/base/long.ts', 'export {}\n'.repeat(501), /at most 500 lines/],
]

describe('a planted violation is named', () => {
  test.each(planted)('%s', (name, file, text, rule) => {
    const root = join(folder, name.replaceAll(' ', '-'))
    mkdirSync(join(root, 'docs'), { recursive: true })
    cpSync(join(checkoutRoot, 'docs/architecture.md'), join(root, 'docs/architecture.md'))
    expect(checkTree(root)).toEqual([])
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
    const found = checkTree(root)
    expect(found.map(({ rule: broken }) => broken).join('\n')).toMatch(rule)
    expect(found[0]!.file).toBe(file)
  })
})
