/** Same prompt, same tokens: a speed whose answers differ is no result. */
import { HypuraError } from '../../ts/engine/index.js'
import type { Repetition } from './repetition.js'
import { testName } from './tests.js'

export interface Agreement {
  /** Pairs of answers that were compared and equal. */
  readonly comparisons: number
  readonly tokens: number
  /** Compared with a run whose weights were all in memory; else why not. */
  readonly resident: 'compared' | 'is resident itself' | string
}

/**
 * Compares each answer with those of `others` to the same prompt.
 * Errors: ERR_HYPURA_BUG at the first difference, with both tokens.
 */
export function requireAgreement(answers: readonly Repetition[], others: readonly Repetition[], what: string): { comparisons: number; tokens: number } {
  let comparisons = 0
  let tokens = 0
  for (const answer of answers) {
    for (const other of others) {
      if (other === answer || other.prompt !== answer.prompt || other.test !== answer.test) continue
      const at = answer.tokens.findIndex((token, i) => token !== other.tokens[i])
      if (at >= 0 || answer.tokens.length !== other.tokens.length) throw disagreement(answer, other, at, what)
      comparisons++
      tokens += answer.tokens.length
    }
  }
  return { comparisons, tokens }
}

function disagreement({ test, prompt, tokens }: Repetition, other: Repetition, at: number, what: string): HypuraError {
  const found = at < 0 ? `${tokens.length} tokens` : `token ${tokens[at]}`
  const expected = at < 0 ? `${other.tokens.length} tokens` : `token ${other.tokens[at] ?? 'none'}`
  return new HypuraError('ERR_HYPURA_BUG',
    `hypura bug: ${testName(test, 0)}, prompt ${prompt}: ${found}${at < 0 ? '' : ` at place ${at}`}, but ${expected} ${what}. Nothing was recorded: a speed counts only with equal answers.`,
    { test: testName(test, 0), prompt, at, found, expected })
}
