/**
 * Finds and loads the addon: the path in HYPURA_NATIVE_PATH, what was built here, or the package's prebuilt file.
 *
 * One binary serves every version of Node and Electron (Node-API 8), so only platform and architecture choose the file.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HypuraError } from '../base/errors.js'
import { abiVersion } from './layout.gen.js'
import type { NativeBinding } from './native-binding.js'

const functionNames = ['probe', 'measure', 'watchPressure', 'createEngine', 'measureReads'] as const

/** This file is dist/ts/native/load-binding.js of the package. */
const packageRoot = fileURLToPath(new URL('../../..', import.meta.url))

export interface BindingSource {
  readonly root: string
  readonly platform: string
  readonly arch: string
  /** HYPURA_NATIVE_PATH; when given, nothing else is tried. */
  readonly override: string | undefined
}

/** Where the addon may lie, in the order of trying. */
export function bindingPaths({ root, platform, arch, override }: BindingSource): readonly string[] {
  if (override !== undefined && override !== '') return [override]
  return [
    join(root, 'build/cmake/Release/hypura.node'),
    join(root, 'build/cmake/hypura.node'),
    join(root, 'prebuilds', `${platform}-${arch}`, 'hypura.node'),
  ]
}

/**
 * The addon of this process.
 *
 * @throws ERR_HYPURA_NO_BINARY with the platform, each path with what went wrong there, and how to build
 */
export function loadBinding(source: Partial<BindingSource> = {}): NativeBinding {
  return findBinding(source).binding
}

/** As loadBinding(), with the path it came from. */
export function findBinding(source: Partial<BindingSource> = {}): { readonly binding: NativeBinding; readonly path: string } {
  const { root, platform, arch, override }: BindingSource = {
    root: packageRoot, platform: process.platform, arch: process.arch, override: process.env.HYPURA_NATIVE_PATH, ...source,
  }
  const require = createRequire(import.meta.url)
  const failures: string[] = []
  for (const path of bindingPaths({ root, platform, arch, override })) {
    let loaded: unknown
    try {
      loaded = require(path)
    } catch (cause) {
      failures.push(`${path}: ${reasonOf(cause)}`)
      continue
    }
    const fault = faultOf(loaded)
    if (fault === undefined) return { binding: loaded as NativeBinding, path }
    failures.push(`${path}: ${fault}`)
  }
  throw new HypuraError(
    'ERR_HYPURA_NO_BINARY',
    `no native addon for ${platform}-${arch}. Tried ${failures.join('; ')}. Build it with: npx hypura build`,
    { platform, arch, tried: failures },
  )
}

/** One line of what Node said. */
function reasonOf(cause: unknown): string {
  const { code, message } = cause as { code?: string; message?: string }
  return code === 'MODULE_NOT_FOUND' ? 'not there' : (message ?? String(cause)).split('\n', 1)[0]!
}

/** Why a loaded module is not an addon of this version; undefined when it is. */
function faultOf(loaded: unknown): string | undefined {
  const binding = loaded as Partial<NativeBinding> | null
  if (typeof binding !== 'object' || binding === null) return 'is not the hypura addon'
  if (binding.abiVersion !== abiVersion) return `has ABI version ${binding.abiVersion}, this version of hypura needs ${abiVersion}`
  const missing = functionNames.find(name => typeof binding[name] !== 'function')
  return missing === undefined ? undefined : `has no function ${missing}`
}
