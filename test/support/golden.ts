/** Recorded words of llama.cpp on the shipped models: for some positions of one window, its twenty likeliest tokens. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutRoot } from '../../scripts/tidy.js'
import { describeModel } from '../../ts/engine/index.js'

export interface GoldenModel {
  readonly name: string
  readonly positions: readonly { readonly position: number; readonly top: readonly (readonly [token: number, logProbability: number])[] }[]
}
export interface Golden {
  readonly provenance: string
  readonly models: readonly GoldenModel[]
}

export const goldenPath: string = join(checkoutRoot, 'test/golden/llama-cpp.json')
const windowTokens = 192

/** The beginning of the tale, after the begin token. */
export async function windowOf(path: string): Promise<number[]> {
  const text = readFileSync(join(checkoutRoot, 'test/golden/tale.txt'), 'utf8')
  return [...(await describeModel(path)).tokenizer().encode(text, { addSpecial: true })].slice(0, windowTokens)
}
