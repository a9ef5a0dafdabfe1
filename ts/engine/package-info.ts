/** Where this package lies and which version it is. */
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of package.json: dist/ts/engine lies three folders below it. */
export const packageRoot: string = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')

export const packageVersion: string = (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version
