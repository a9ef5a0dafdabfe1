/** Which llama.cpp is there: a path that was given, HYPURA_LLAMA_CPP, or node-llama-cpp where it is installed. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { HypuraError, packageRoot } from '../../../ts/engine/index.js'
import { llamaBench } from './llama-bench.js'
import { nodeLlamaCpp } from './node-llama-cpp.js'
import type { Peer } from './peer.js'

const packageName = 'node-llama-cpp'

/** @param given path of llama-bench, or of a folder with node-llama-cpp. Errors: ERR_HYPURA_USAGE with what to install or give. */
export function findPeer(given: string | undefined): Peer {
  const named = given ?? process.env['HYPURA_LLAMA_CPP']
  if (named !== undefined && named !== '') return peerAt(resolve(named), given === undefined ? 'HYPURA_LLAMA_CPP' : '--baseline')
  const folder = installed()
  if (folder !== undefined) return nodeLlamaCpp(folder)
  throw new HypuraError('ERR_HYPURA_USAGE',
    '--baseline: no llama.cpp is here to compare with. Give the path of its llama-bench (--baseline PATH, or HYPURA_LLAMA_CPP), or install node-llama-cpp in this folder (npm install node-llama-cpp)')
}

function peerAt(path: string, flag: string): Peer {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw new HypuraError('ERR_HYPURA_USAGE', `${flag}: ${path} does not exist; give the path of llama-bench, or of a folder in which node-llama-cpp is installed`, { path })
  if (found.isDirectory()) {
    const folder = [path, join(path, 'node_modules', packageName)].find((candidate) => isPackage(candidate))
    if (folder !== undefined) return nodeLlamaCpp(folder)
    const program = join(path, 'llama-bench')
    if (existsSync(program)) return peerAt(program, flag)
    throw new HypuraError('ERR_HYPURA_USAGE', `${flag}: neither llama-bench nor node-llama-cpp is in ${path}`, { path })
  }
  try {
    accessSync(path, constants.X_OK)
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `${flag}: ${path} cannot be run; it must be a llama-bench program`, { path }, { cause: error })
  }
  return llamaBench(path)
}

/** Apart in the checkout's test folder, or where a program in the working folder would find it. */
function installed(): string | undefined {
  const apart = join(packageRoot, 'test/oracle/node_modules', packageName)
  if (isPackage(apart)) return apart
  try {
    let folder = dirname(createRequire(join(process.cwd(), 'resolve.js')).resolve(packageName))
    while (!isPackage(folder) && dirname(folder) !== folder) folder = dirname(folder)
    return isPackage(folder) ? folder : undefined
  } catch {
    return undefined
  }
}

const isPackage = (folder: string): boolean => folder.endsWith(packageName) && existsSync(join(folder, 'package.json'))
