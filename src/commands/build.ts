/** `hypura build`: compiles the addon from the shipped sources, for platforms without a prebuilt one. */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { HypuraError, packageRoot } from '../../ts/engine/index.js'
import { note } from '../terminal.js'

export function addBuild(root: Command): void {
  root
    .command('build')
    .description('compile the native part from source (needs a C++20 compiler and CMake 3.20)')
    .option('--debug', 'with assertions and symbols')
    .action(({ debug }: { debug?: boolean }) => build(debug ?? false))
}

async function build(debug: boolean): Promise<void> {
  const manifest = createRequire(import.meta.url).resolve('cmake-js/package.json')
  const program = join(dirname(manifest), 'bin/cmake-js')
  note(`building in ${packageRoot}`)
  const child = spawn(process.execPath, [program, 'compile', '--out', 'build/cmake', ...(debug ? ['--debug'] : []), '--CDHYPURA_TESTS=OFF'], { cwd: packageRoot, stdio: ['ignore', 2, 2] })
  const code = await new Promise<number | null>((resolve, reject) => child.on('exit', resolve).on('error', reject))
  if (code !== 0) throw new HypuraError('ERR_HYPURA_NO_BINARY', `the build failed (cmake-js ended with ${code}); it needs a C++20 compiler (GCC 12 or Clang 14 and later) and CMake 3.20`)
}
