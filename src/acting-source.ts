/** Whose guesses of experts are read ahead, in a word: 'router', a predictor's name, or 'off'. */
import type { GuessReport } from '../ts/engine/index.js'

export function actingSource(guesses: GuessReport | undefined): string {
  const acts = guesses?.mode === 'prefetch' || guesses?.mode === 'retain'
  return acts ? guesses.source : 'off'
}
