/** How far two engines are apart: the figures of the parity ladder. */

export interface Agreement {
  positions: number
  /** Mean Kullback-Leibler divergence of `ours` from `reference`, in nats. */
  meanKl: number
  maxKl: number
  /** Share of positions with the same likeliest token. */
  sameTop: number
  /** Mean squared difference over mean square, logits centred per row. */
  nmse: number
  /**
   * ln(perplexity of ours / of the reference) over the rows whose next token was told, and its standard error: of the paired
   * differences, so far smaller than either perplexity's. NaN without such rows.
   */
  lnPerplexityRatio: number
  lnPerplexityRatioError: number
  /** Of the reference, over the same rows. */
  perplexity: number
}

export class AgreementMeter {
  #positions = 0
  #kl = 0
  #maxKl = 0
  #sameTop = 0
  #difference = 0
  #power = 0
  #scored = 0
  #nll = 0
  #ratio = 0
  #ratioSquares = 0

  /** `next`: the token that follows, for the perplexities. */
  add(reference: Float32Array, ours: Float32Array, next?: number): void {
    const p = logSoftmax(reference)
    const q = logSoftmax(ours)
    let kl = 0
    for (let i = 0; i < p.length; i++) kl += Math.exp(p[i]!) * (p[i]! - q[i]!)
    this.#kl += kl
    this.#maxKl = Math.max(this.#maxKl, kl)
    this.#sameTop += top(reference) === top(ours) ? 1 : 0
    const referenceMean = mean(reference)
    const oursMean = mean(ours)
    for (let i = 0; i < p.length; i++) {
      this.#difference += (reference[i]! - referenceMean - (ours[i]! - oursMean)) ** 2
      this.#power += (reference[i]! - referenceMean) ** 2
    }
    this.#positions++
    if (next === undefined) return
    const ratio = p[next]! - q[next]!
    this.#scored++
    this.#nll -= p[next]!
    this.#ratio += ratio
    this.#ratioSquares += ratio * ratio
  }

  result(): Agreement {
    const ratio = this.#ratio / this.#scored
    return {
      positions: this.#positions,
      meanKl: this.#kl / this.#positions,
      maxKl: this.#maxKl,
      sameTop: this.#sameTop / this.#positions,
      nmse: this.#difference / this.#power,
      lnPerplexityRatio: ratio,
      lnPerplexityRatioError: Math.sqrt(Math.max(0, this.#ratioSquares / this.#scored - ratio * ratio) / (this.#scored - 1)),
      perplexity: Math.exp(this.#nll / this.#scored),
    }
  }
}

export function logSoftmax(logits: Float32Array): Float64Array {
  let max = -Infinity
  for (const value of logits) max = Math.max(max, value)
  let sum = 0
  for (const value of logits) sum += Math.exp(value - max)
  const offset = max + Math.log(sum)
  return Float64Array.from(logits, (value) => value - offset)
}

export function top(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i
  return best
}

const mean = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length
