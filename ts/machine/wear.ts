/**
 * What a run costs the drive: bytes written against its rating, and the range in which reading itself makes it write.
 *
 * Flash that is read often enough is rewritten by the controller (read disturb). For P pages per block and a trigger after T
 * reads, hidden writes are P / T of the bytes read: 0.1 to 4.6 % for P of 1000 to 2300 and published triggers of 50,000 to 1 million
 * reads. That is an assumption about other drives, not a measurement of this one: host counters do not see such writes.
 */

/** Hidden writes per byte read, least and most. */
export const readDisturbRange: { readonly low: number; readonly high: number } = { low: 0.001, high: 0.046 }

export interface WearInput {
  readonly tokens: number
  readonly seconds: number
  readonly readBytes: number
  /** undefined: the system does not say. */
  readonly processWrittenBytes: number | undefined
  /** By everybody, to the drive. */
  readonly driveWrittenBytes: number | undefined
  /** Endurance rating in terabytes written; undefined: not given. */
  readonly ratedTbw: number | undefined
}

export interface WearEstimate {
  readonly readBytesPerToken: number
  /** At this run's pace, day and night. */
  readonly readBytesPerDay: number
  readonly writtenBytesPerDay: number | undefined
  readonly hiddenWritesPerDay: { readonly low: number; readonly high: number }
  /** Years until the rating is used up at this pace, hidden writes at their most and at their least; undefined without a rating. */
  readonly yearsToRating: { readonly low: number; readonly high: number } | undefined
  /** One sentence. */
  readonly verdict: string
}

const secondsPerDay = 86_400
const daysPerYear = 365.25

export function wearEstimate({ tokens, seconds, readBytes, processWrittenBytes, ratedTbw }: WearInput): WearEstimate {
  const perDay = (bytes: number): number => (seconds > 0 ? (bytes / seconds) * secondsPerDay : 0)
  const readBytesPerDay = perDay(readBytes)
  const writtenBytesPerDay = processWrittenBytes === undefined ? undefined : perDay(processWrittenBytes)
  const hiddenWritesPerDay = { low: readBytesPerDay * readDisturbRange.low, high: readBytesPerDay * readDisturbRange.high }
  const years = (hidden: number): number => {
    const perYear = ((writtenBytesPerDay ?? 0) + hidden) * daysPerYear
    return perYear === 0 ? Infinity : (ratedTbw! * 1e12) / perYear
  }
  const yearsToRating = ratedTbw === undefined ? undefined : { low: years(hiddenWritesPerDay.high), high: years(hiddenWritesPerDay.low) }
  return {
    readBytesPerToken: tokens === 0 ? 0 : readBytes / tokens,
    readBytesPerDay, writtenBytesPerDay, hiddenWritesPerDay, yearsToRating,
    verdict: verdictOf(processWrittenBytes, hiddenWritesPerDay, yearsToRating),
  }
}

function verdictOf(written: number | undefined, hidden: { low: number; high: number }, years: WearEstimate['yearsToRating']): string {
  const wrote = written === undefined ? 'what was written is not known' : written === 0 ? 'nothing was written' : `${written} bytes were written`
  if (hidden.high === 0) return `${wrote}, and nothing was read`
  const terabytes = (bytes: number): string => (bytes / 1e12).toPrecision(2)
  const range = `reading at this pace day and night may make a drive rewrite ${terabytes(hidden.low)} to ${terabytes(hidden.high)} TB a day (assumed range, not measured)`
  return years === undefined ? `${wrote}; ${range}` : `${wrote}; ${range}: its rating would last ${span(years)}`
}

const span = ({ low, high }: { low: number; high: number }): string => `${yearsText(low)} to ${yearsText(high)} years`
const yearsText = (years: number): string => (years >= 100 ? 'over 100' : years.toPrecision(2))
