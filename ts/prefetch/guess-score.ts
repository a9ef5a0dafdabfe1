/** How good a source of guesses is, decayed: what counts is how many of the experts that had to be read it named. */

/** What became of the guesses of one token, over the layers that were guessed. */
export interface TokenScore {
  /** Experts that were named, and how many of them were chosen. */
  readonly guessed: number
  readonly correct: number
  /** Experts that were chosen, how many of them had to be read, and how many of those were named. */
  readonly asked: number
  readonly absent: number
  readonly correctAbsent: number
}

export interface SourceScore {
  readonly name: string
  /** Tokens that were scored, decayed: how much the shares are worth. */
  readonly tokens: number
  /** Of the experts that were named, how many were chosen; 0 when none were. */
  readonly precision: number
  /** Of the experts that were chosen, how many were named. */
  readonly recall: number
  /** Of those that had to be read; undefined when none had to be. */
  readonly recallOfAbsent: number | undefined
}

/** The same as what is known of use: about ten sentences. */
const halfLifeTokens = 256
const decay: number = 0.5 ** (1 / halfLifeTokens)

export interface ScoreTally {
  add(score: TokenScore): void
  score(): SourceScore
}

export function scoreTally(name: string): ScoreTally {
  let [tokens, guessed, correct, asked, absent, correctAbsent] = [0, 0, 0, 0, 0, 0]
  return {
    add(score) {
      tokens = tokens * decay + 1
      guessed = guessed * decay + score.guessed
      correct = correct * decay + score.correct
      asked = asked * decay + score.asked
      absent = absent * decay + score.absent
      correctAbsent = correctAbsent * decay + score.correctAbsent
    },
    score: () => ({
      name, tokens,
      precision: guessed === 0 ? 0 : correct / guessed,
      recall: asked === 0 ? 0 : correct / asked,
      recallOfAbsent: absent === 0 ? undefined : correctAbsent / absent,
    }),
  }
}
