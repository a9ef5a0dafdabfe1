/** How well a predictor guesses, whatever the pool: compared with the router's real choice, position by position. */
import type { Predictor } from '../prefetch/predictors/predictor.js'
import type { Trace } from '../trace/trace.js'
import { mixtureLayers } from '../trace/trace.js'
import { likeliest } from './replay.js'

export interface Score {
  /** Of the experts that were chosen, how many were named. */
  readonly recall: number
  /** Of the experts that were named, how many were chosen; 0 when none were. */
  readonly precision: number
}

export interface Judgement {
  readonly choices: number
  /** As many named as are chosen. */
  readonly atUsed: Score
  /** Twice as many named. */
  readonly atTwice: Score
  /** Of guesses of at least one half. */
  readonly sure: Score
}

/** A predictor learns as it is judged: each choice is guessed before it is seen. */
export function judgePredictor(trace: Trace, predictor: Predictor): Judgement {
  const { nExpert, nExpertUsed } = trace.model
  const layers = mixtureLayers(trace.model)
  const probabilities = new Float32Array(nExpert)
  const counts = { atUsed: tally(), atTwice: tally(), sure: tally() }
  let choices = 0
  for (let sweep = 0; sweep < trace.sweeps; sweep++) {
    if (trace.positions(sweep) > 1 || trace.followsGap(sweep)) predictor.interrupt()
    if (trace.positions(sweep) > 1) continue
    for (let layer = 0; layer < layers; layer++) {
      const chosen = trace.experts(sweep, layer)
      predictor.predict(layer, probabilities)
      const named = likeliest(probabilities, 2 * nExpertUsed)
      counts.atUsed.add(named.slice(0, nExpertUsed), chosen)
      counts.atTwice.add(named, chosen)
      counts.sure.add(named.filter((expert) => probabilities[expert]! >= 0.5), chosen)
      choices += chosen.length
      predictor.observe(layer, chosen)
    }
  }
  return { choices, atUsed: counts.atUsed.score(), atTwice: counts.atTwice.score(), sure: counts.sure.score() }
}

function tally(): { add(named: readonly number[], chosen: Uint16Array): void; score(): Score } {
  let [right, named, wanted] = [0, 0, 0]
  return {
    add(guesses, chosen) {
      named += guesses.length
      wanted += chosen.length
      for (const expert of guesses) if (chosen.includes(expert)) right++
    },
    score: () => ({ recall: wanted === 0 ? 0 : right / wanted, precision: named === 0 ? 0 : right / named }),
  }
}
