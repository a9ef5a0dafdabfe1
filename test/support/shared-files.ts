/**
 * Where the big test files lie: models, vocabularies, templates. Not part of the repository; tests that need them are
 * skipped with a reason where they are absent.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { checkoutRoot } from '../../scripts/tidy.js'

/** HYPURA_SHARED, or the folder `shared` beside the checkout. */
export const sharedRoot: string = process.env.HYPURA_SHARED ?? resolve(checkoutRoot, '../shared')

/** Paths of the files of one folder with this ending, sorted; empty, with the reason printed, where there are none. */
export function sharedFiles(folder: string, ending: string): string[] {
  const path = join(sharedRoot, folder)
  if (!existsSync(path)) {
    console.warn(`skipped: ${path} does not exist; set HYPURA_SHARED`)
    return []
  }
  return readdirSync(path).filter((name) => name.endsWith(ending)).sort().map((name) => join(path, name))
}
