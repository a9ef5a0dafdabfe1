// What could break: an addon of another version is loaded and misreads messages, or a machine without one gets a riddle
// instead of the command that builds it. How we notice: made-up package roots with modules that are absent, foreign or old.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { HypuraError } from '../base/errors.js'
import { abiVersion } from './layout.gen.js'
import { bindingPaths, loadBinding } from './load-binding.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-binding-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let roots = 0
/** A package root with these files; JavaScript stands in for machine code, which require() treats alike. */
function rootWith(files: Record<string, string>): string {
  const root = join(folder, `root-${roots++}`)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}
function failureOf(source: Parameters<typeof loadBinding>[0]): HypuraError {
  try {
    loadBinding(source)
  } catch (error) {
    return error as HypuraError
  }
  throw new Error('the addon was loaded')
}
const standIn = (version: number) =>
  `module.exports = { abiVersion: ${version}, probe() {}, measure() {}, watchPressure() {}, createEngine() {}, measureReads() {} }`

test('a machine without an addon is told platform, places and the command', () => {
  const error = failureOf({ root: rootWith({}), platform: 'plan9', arch: 'sparc', override: undefined })
  expect(error).toBeInstanceOf(HypuraError)
  expect(error.code).toBe('ERR_HYPURA_NO_BINARY')
  expect(error.message).toContain('plan9-sparc')
  expect(error.message).toContain('npx hypura build')
  expect(error.details.tried).toHaveLength(3)
})

test('an override is the only place that is tried', () => {
  const path = join(rootWith({ 'x.cjs': standIn(abiVersion) }), 'x.cjs')
  expect(loadBinding({ override: path }).abiVersion).toBe(abiVersion)
  const error = failureOf({ override: join(folder, 'nowhere.node') })
  expect(error.details.tried).toHaveLength(1)
  expect(error.message).toContain('nowhere.node')
})

test('another ABI version and a foreign module are refused', () => {
  const root = rootWith({ 'old.cjs': standIn(abiVersion + 1), 'foreign.cjs': 'module.exports = null',
    'half.cjs': `module.exports = { abiVersion: ${abiVersion}, probe() {}, measure() {}, watchPressure() {} }`, 'broken.cjs': 'throw new Error("no\\nway")' })
  expect(failureOf({ override: join(root, 'old.cjs') }).message).toContain(`ABI version ${abiVersion + 1}`)
  expect(failureOf({ override: join(root, 'foreign.cjs') }).message).toContain('not the hypura addon')
  expect(failureOf({ override: join(root, 'half.cjs') }).message).toContain('no function createEngine')
  expect(failureOf({ override: join(root, 'broken.cjs') }).message).toContain('broken.cjs: no.')
})

test('what was built here comes before the prebuilt file, which may be older', () => {
  const paths = bindingPaths({ root: '/r', platform: 'linux', arch: 'x64', override: '' })
  expect(paths).toEqual(['/r/build/cmake/Release/hypura.node', '/r/build/cmake/hypura.node', '/r/prebuilds/linux-x64/hypura.node'])
})
