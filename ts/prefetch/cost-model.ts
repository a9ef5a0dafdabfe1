/**
 * What reading costs, and what that makes of a memory plan: bytes per token, and the speed the drive allows.
 *
 * These are bounds and expectations, never promises: they say which side limits and what more memory would buy.
 */

export interface DriveCost {
  /** Sustained direct reads at the depth that is used. */
  readonly bytesPerSecond: number
  /** Of one read before its first byte. */
  readonly latencySeconds: number
}

/** A middling NVMe drive, for plans made before anything was measured. */
export const assumedDrive: DriveCost = { bytesPerSecond: 2.5e9, latencySeconds: 100e-6 }

/** One block, alone. */
export const readSeconds = ({ bytesPerSecond, latencySeconds }: DriveCost, bytes: number): number =>
  latencySeconds + bytes / bytesPerSecond

export interface HitRates {
  readonly low: number
  readonly high: number
}

/**
 * Share of chosen experts found in a pool, once it is warm.
 *
 * Low: routing without any habit, the share of experts that fit. High: share^(1/4), near published traces (12.5 % of the
 * experts: 67 %, 25 %: 81 %, 5 %: 45 %). A pool below one token's experts is left by each before it returns: 0.
 */
export function expectedHitRates(poolSlots: number, nExperts: number, slotsPerToken: number): HitRates {
  if (poolSlots >= nExperts) return { low: 1, high: 1 }
  if (poolSlots < slotsPerToken) return { low: 0, high: 0 }
  const share = poolSlots / nExperts
  return { low: share, high: share ** 0.25 }
}

export interface Range {
  readonly low: number
  readonly high: number
}

/** Tokens per second that the drive allows for so many bytes per token; Infinity when nothing is read. */
export const driveBound = ({ bytesPerSecond }: DriveCost, bytesPerToken: Range): Range => ({
  low: bytesPerToken.high === 0 ? Infinity : bytesPerSecond / bytesPerToken.high,
  high: bytesPerToken.low === 0 ? Infinity : bytesPerSecond / bytesPerToken.low,
})
