/**
 * Before `npm pack`: puts this machine's addon where the package looks for it first, so that an installed package runs
 * without a compiler on the same platform. Others build it with `npx hypura build`.
 */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutRoot } from './tidy.js'

const folder = join(checkoutRoot, 'prebuilds', `${process.platform}-${process.arch}`)
mkdirSync(folder, { recursive: true })
copyFileSync(join(checkoutRoot, 'build/cmake/Release/hypura.node'), join(folder, 'hypura.node'))
console.error(`prebuilt addon for ${process.platform}-${process.arch} staged`)
