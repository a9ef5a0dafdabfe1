import type { PredictorKind } from './predictor.js'

/** Guesses nothing: what a predictor must beat to be worth anything. */
export const none: PredictorKind = {
  name: 'none',
  create: ({ layers, nExpert, nExpertUsed }) => ({
    observe: () => undefined,
    interrupt: () => undefined,
    predict: (_, into) => void into.fill(0),
    save: () => ({ name: 'none', format: 1, shape: { layers, nExpert, nExpertUsed }, numbers: {} }),
  }),
}
