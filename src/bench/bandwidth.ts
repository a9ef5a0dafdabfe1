/** B: what the drive gives for reads like the engine's, measured in the same run, several times. */
import { median } from './statistics.js'

export interface Probe {
  /** How it reads, as the record says it. */
  readonly method: Readonly<Record<string, unknown>>
  /** One measurement of B in bytes per second. Rejects where the file's drive cannot be measured. */
  measure(): Promise<number>
}

export interface Bandwidth {
  /** In order: before, between and after the repetitions. */
  readonly samples: readonly number[]
  /** Median; undefined where there is none. */
  readonly bytesPerSecond: number | undefined
  /** Why there is none, or none any more. */
  readonly reason: string | undefined
  readonly method: Probe['method']
}

export class BandwidthSamples {
  readonly #probe: Probe
  readonly #samples: number[] = []
  #reason: string | undefined

  constructor(probe: Probe) {
    this.#probe = probe
  }

  /** Once it has failed it stays so: half a median would be no fair one. An abort is thrown on. */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#reason !== undefined) return
    try {
      this.#samples.push(await this.#probe.measure())
    } catch (error) {
      signal.throwIfAborted()
      this.#reason = (error as Error).message
    }
  }

  get result(): Bandwidth {
    const isKnown = this.#reason === undefined && this.#samples.length > 0
    return { samples: this.#samples, bytesPerSecond: isKnown ? median(this.#samples) : undefined, reason: this.#reason, method: this.#probe.method }
  }
}
