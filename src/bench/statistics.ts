/** Sums over samples, as llama-bench takes them. An empty list has no mean: callers ask only about what was measured. */

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Of a sample (n - 1); 0 for a single value. */
export function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0
  const middle = mean(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1))
}

/** Between the two nearest ranks, linearly. @param share 0 .. 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = share * (sorted.length - 1)
  const below = Math.floor(rank)
  const low = sorted[below]!
  return low + ((sorted[below + 1] ?? low) - low) * (rank - below)
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

export interface Spread {
  readonly p10: number
  readonly p50: number
  readonly p90: number
}

/** Speeds, slowest first: p10 is a speed that nine of ten tokens exceed. Undefined when nothing was measured. */
export function speedSpread(intervalsMs: readonly number[]): Spread | undefined {
  const speeds = intervalsMs.filter((ms) => ms > 0).map((ms) => 1000 / ms)
  return speeds.length === 0 ? undefined : { p10: quantile(speeds, 0.1), p50: quantile(speeds, 0.5), p90: quantile(speeds, 0.9) }
}
