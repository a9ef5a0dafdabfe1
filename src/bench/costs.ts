/** What a test cost beside time: the drive's endurance, and energy where it is counted. */
import { type EnergyCounter, type NotAvailable, processStats, type SmartReport, wearEstimate } from '../../ts/engine/index.js'
import { bytes } from '../format.js'
import type { TestFigures } from './figures.js'

export interface WearOptions {
  readonly test: TestFigures
  /** Written by this process when the bench began; undefined where the system does not say. */
  readonly startedWritten: number | undefined
  readonly ratedTbw: number | undefined
  readonly smart: SmartReport
}

/** Record of one test, with its lines for people. */
export function wearOf({ test, startedWritten, ratedTbw, smart }: WearOptions): Readonly<Record<string, unknown>> {
  const { counted, test: { tokens }, samplesNs } = test
  const written = processStats().writtenBytes
  const processWrittenBytes = written === undefined || startedWritten === undefined ? undefined : written - startedWritten
  const estimate = wearEstimate({
    tokens: tokens * samplesNs.length, seconds: counted.ms / 1000, readBytes: counted.readBytes, processWrittenBytes,
    driveWrittenBytes: counted.driveWrittenBytes ?? undefined, ratedTbw,
  })
  return {
    rated_tbw: ratedTbw ?? null,
    process_written_bytes: processWrittenBytes ?? null,
    drive_written_bytes: counted.driveWrittenBytes,
    read_bytes_per_day: estimate.readBytesPerDay,
    hidden_writes_per_day: estimate.hiddenWritesPerDay,
    years_to_rating: estimate.yearsToRating ?? null,
    smart: smart.available ? { ...smart } : `not available: ${smart.reason}`,
    verdict: estimate.verdict,
    lines: [
      estimate.verdict,
      `the drive itself counted ${counted.driveWrittenBytes === null ? 'nothing that can be read' : `${bytes(counted.driveWrittenBytes)} written by everybody`} while it was measured`,
      `SMART ${smart.available ? smartText(smart) : `not available: ${smart.reason}`}`,
    ],
  }
}

function smartText({ percentageUsed, dataWrittenBytes, temperatureCelsius, mediaErrors }: SmartReport): string {
  return [
    ...(percentageUsed === undefined ? [] : [`${percentageUsed} % of its endurance used`]),
    ...(dataWrittenBytes === undefined ? [] : [`${bytes(dataWrittenBytes)} written in its life`]),
    ...(temperatureCelsius === undefined ? [] : [`${temperatureCelsius} °C`]),
    ...(mediaErrors === undefined ? [] : [`${mediaErrors} media errors`]),
  ].join(', ')
}

/** Of the whole bench, shared out by the tests' measured time; null where nothing is counted. */
export function energyOf(counter: EnergyCounter | NotAvailable, test: TestFigures, all: readonly TestFigures[]): Readonly<Record<string, unknown>> {
  if (!counter.available) return { joules_per_token: null, source: null, reason: counter.reason }
  const share = test.counted.ms / all.reduce((sum, { counted }) => sum + counted.ms, 0)
  const tokens = test.test.tokens * test.samplesNs.length
  return { joules_per_token: (counter.joules() * share) / tokens, source: `${counter.source}, idle included, loading and measuring the drive as well`, reason: null }
}
