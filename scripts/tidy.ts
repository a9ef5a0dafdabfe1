/**
 * Proves what the architecture promises and a machine can check: the layer table, its finer rules, file sizes, leftovers.
 *
 *   node dist/scripts/tidy.js [folder]      prints each violation with the rule and the fix; exit code 1 when there is one
 *
 * The layer table is read from docs/architecture.md, so the document cannot drift from the code.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Violation {
  readonly file: string
  readonly line: number
  readonly rule: string
  readonly fix: string
}

interface Layer {
  readonly imports: readonly string[]
  readonly packages: readonly string[]
  readonly builtins: readonly string[]
}

/** Files longer than the limit, each with its reason. */
const longFiles: ReadonlyMap<string, string> = new Map([])
const linesMax = 500
const anything = 'any'

/** The table between the markers of docs/architecture.md, by module. */
export function readLayers(markdown: string): Map<string, Layer> {
  const table = markdown.split('<!-- layers:begin -->')[1]?.split('<!-- layers:end -->')[0]
  if (table === undefined) throw new Error('docs/architecture.md has no layer table between its markers')
  const layers = new Map<string, Layer>()
  for (const row of table.trim().split('\n').slice(2)) {
    const [modules, imports, packages, builtins] = row.split('|').slice(1, -1).map((cell) => cell.trim())
    const list = (cell: string | undefined): string[] => (cell === undefined || cell === '-' ? [] : cell.split(',').map((item) => item.trim()))
    for (const name of list(modules)) layers.set(name, { imports: list(imports), packages: list(packages), builtins: list(builtins) })
  }
  return layers
}

/** Checks every source file under `root`; sorted by file and line. */
export function checkTree(root: string): Violation[] {
  const layers = readLayers(readFileSync(join(root, 'docs/architecture.md'), 'utf8'))
  const violations: Violation[] = []
  for (const file of sources(root)) {
    const text = readFileSync(join(root, file), 'utf8')
    const module = moduleOf(file, layers)
    if (module === undefined) {
      violations.push({ file, line: 1, rule: 'every source file belongs to a module of the layer table', fix: 'move it, or add its folder to docs/architecture.md section 4' })
      continue
    }
    const check = { file, module, layers, violations, isTest: isTest(file) }
    if (/\.(cpp|h)$/.test(file)) checkCpp(check, text)
    else checkTypeScript(check, text)
    checkText(check, text)
  }
  return violations.sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line)
}

interface Check {
  readonly file: string
  readonly module: string
  readonly layers: ReadonlyMap<string, Layer>
  readonly violations: Violation[]
  readonly isTest: boolean
}

function checkCpp(check: Check, text: string): void {
  const { file, module, layers, violations } = check
  for (const [line, target] of matches(text, /^\s*#\s*include\s+"([^"]+)"/)) {
    if (!target.startsWith(module === 'bench' ? 'bench/' : 'native/') && !target.startsWith('native/')) {
      violations.push({ file, line, rule: `"${target}" is not a path from the root`, fix: 'write #include "native/<module>/<file>.h"' })
      continue
    }
    if (check.isTest) continue
    checkImport(check, line, target)
    if (module === 'native/model' && target.startsWith('native/scheduler/') && target !== 'native/scheduler/block_cache.h') {
      violations.push({ file, line, rule: 'native/model sees block_cache.h of the scheduler and nothing else of it', fix: 'ask the cache for blocks' })
    }
  }
  const isa = /^native\/kernels\/(avx2|avxvnni|avx512vnni|amx_int8|neon_\w+)\//.exec(file)
  if (isa !== null && !check.isTest) {
    const allowed = /^(?:immintrin\.h|arm_neon\.h|cstdint|cstddef|native\/kernels\/(?:kernel_set|quant_types|blocks|activations|\w+\/\w+)\.h)$/
    for (const [line, target] of matches(text, /^\s*#\s*include\s+["<]([^">]+)[">]/)) {
      if (!allowed.test(target)) {
        violations.push({ file, line, rule: `an ISA file includes <${target}>: an inline function compiled here may be the copy the linker keeps for every CPU`, fix: 'include intrinsics, <cstdint> and plain struct headers only' })
      }
    }
  }
  if (layers.get(module)?.packages.length === 0 && /^\s*#\s*include\s+<napi\.h>/m.test(text)) {
    violations.push({ file, line: 1, rule: `${module} includes napi.h`, fix: 'only native/addon knows Node' })
  }
}

const importPattern = /(?:^\s*(?:import|export)\b[^'"]*?\bfrom\s*|^\s*import\s*|\bimport\(\s*)['"]([^'"]+)['"]/

function checkTypeScript(check: Check, text: string): void {
  const { file, module, layers, violations } = check
  const joined = text.replace(/\bimport\s*(type\s*)?\{[^}]*\}/g, (names) => names.replace(/\n/g, ' ')).replace(/\bexport\s*(type\s*)?\{[^}]*\}/g, (names) => names.replace(/\n/g, ' '))
  if (check.isTest) return
  const layer = layers.get(module)!
  for (const [line, target] of matches(joined, importPattern)) {
    if (target.startsWith('.')) {
      const path = posix.normalize(posix.join(posix.dirname(file), target)).replace(/\.js$/, '.ts')
      checkImport(check, line, path)
      if (module === 'src' && path.startsWith('ts/') && path !== 'ts/engine/index.ts') {
        violations.push({ file, line, rule: 'src imports ts/engine/index.ts only', fix: `export what is needed of ${path} from ts/engine/index.ts` })
      }
    } else if (target.startsWith('node:')) {
      const builtin = target.slice('node:'.length).split('/')[0]!
      if (!layer.builtins.includes(anything) && !layer.builtins.includes(builtin)) {
        violations.push({ file, line, rule: `${module} must not import ${target}`, fix: 'pass what is needed as an argument, or move the code to ts/engine' })
      }
      if (module === 'ts/gguf' && builtin === 'fs' && file !== 'ts/gguf/file-source.ts') {
        violations.push({ file, line, rule: 'in ts/gguf only file-source.ts touches fs', fix: 'go through file-source.ts' })
      }
    } else {
      const name = target.split('/').slice(0, target.startsWith('@') ? 2 : 1).join('/')
      if (!layer.packages.includes(anything) && !layer.packages.includes(name)) {
        violations.push({ file, line, rule: `${module} must not import the package ${name}`, fix: 'see the packages column of docs/architecture.md section 4' })
      }
    }
  }
  for (const [line] of matches(text, /^(export default)\b/)) {
    violations.push({ file, line, rule: 'no default export', fix: 'export it by name' })
  }
}

function checkImport({ file, module, layers, violations }: Check, line: number, target: string): void {
  const other = moduleOf(target, layers)
  const layer = layers.get(module)!
  if (other === module || layer.imports.includes(anything)) return
  if (other === undefined || !layer.imports.includes(other)) {
    const allowed = layer.imports.length === 0 ? 'nothing' : layer.imports.join(', ')
    violations.push({ file, line, rule: `${module} must not import ${other ?? target}`, fix: `it may import ${allowed} (docs/architecture.md section 4)` })
  }
}

function checkText({ file, violations }: Check, text: string): void {
  const lines = text.split('\n')
  if (lines.length > linesMax && !longFiles.has(file) && !/\.gen\.ts$/.test(file)) {
    violations.push({ file, line: lines.length, rule: `a file has at most ${linesMax} lines`, fix: 'it holds more than one idea: split it' })
  }
  lines.forEach((content, index) => {
    if (/\b(?:TODO|FIXME|XXX|HACK)\b/.test(content) && file !== 'scripts/tidy.ts') {
      violations.push({ file, line: index + 1, rule: 'no leftovers in the code', fix: 'do it, or open an issue' })
    }
  })
}

function moduleOf(file: string, layers: ReadonlyMap<string, Layer>): string | undefined {
  const parts = file.split('/')
  const two = parts.slice(0, 2).join('/')
  return layers.has(two) ? two : layers.has(parts[0]!) ? parts[0] : undefined
}

const isTest = (file: string): boolean => /(?:\.test\.ts|_test\.cpp|\/testing(?:_\w+)?\.(?:cpp|h))$/.test(file)

function* matches(text: string, pattern: RegExp): Generator<[number, string]> {
  const lines = text.split('\n')
  for (let index = 0; index < lines.length; index++) {
    const found = pattern.exec(lines[index]!)
    if (found !== null) yield [index + 1, found[1]!]
  }
}

/** Source files under the folders of the table, relative to `root`, with forward slashes. */
function* sources(root: string): Generator<string> {
  const folders = ['native', 'ts', 'src', 'bench', 'scripts', 'test'].map((name) => join(root, name))
  while (folders.length > 0) {
    const folder = folders.pop()!
    if (statSync(folder, { throwIfNoEntry: false }) === undefined) continue
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        if (entry.name !== 'node_modules') folders.push(path)
      } else if (/\.(?:ts|cpp|h)$/.test(entry.name)) {
        yield relative(root, path).split('\\').join('/')
      }
    }
  }
}

/** The checkout this script was built from (dist/scripts/tidy.js lies two folders below it). */
export const checkoutRoot: string = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const violations = checkTree(resolve(process.argv[2] ?? checkoutRoot))
  for (const { file, line, rule, fix } of violations) console.error(`${file}:${line}: ${rule}\n    ${fix}`)
  console.error(violations.length === 0 ? 'tidy: no violations' : `tidy: ${violations.length} violations`)
  process.exitCode = violations.length === 0 ? 0 : 1
}
