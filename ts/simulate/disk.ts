/**
 * A drive as a queue: a read occupies it for bytes / bandwidth and arrives a latency later; latencies of queued reads overlap. What has
 * begun is not taken back, so a guess can be in the way of a demand.
 */
import type { DriveCost } from '../prefetch/cost-model.js'

export interface Disk {
  /** When it has nothing to do. */
  readonly freeAt: number
  /** Queues a read at `now`; returns when its bytes are there. Seconds. */
  read(bytes: number, now: number): number
}

export function disk({ bytesPerSecond, latencySeconds }: DriveCost): Disk {
  let freeAt = 0
  return {
    get freeAt() { return freeAt },
    read(bytes, now) {
      freeAt = Math.max(now, freeAt) + bytes / bytesPerSecond
      return freeAt + latencySeconds
    },
  }
}
