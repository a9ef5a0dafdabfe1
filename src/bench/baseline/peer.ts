/** A second engine on the same file: what it is asked, and what came of it. */
import type { KvType } from '../../../ts/engine/index.js'
import type { Test } from '../tests.js'

export interface PeerRequest {
  readonly path: string
  readonly tests: readonly Test[]
  readonly depth: number
  readonly threads: number
  readonly kvType: KvType
  /** Token ids of each test's prompt, the untimed lead included: what our own engine gets. Random ids serve llama-bench. */
  readonly prompts: readonly (readonly number[])[]
  /** Ids at the beginning of each prompt that are evaluated before the clock starts. */
  readonly leads: readonly number[]
  readonly signal: AbortSignal
  readonly timeoutMs: number
}

export interface PeerFigures {
  /** Tokens per second, one per test of the request. */
  readonly speeds: readonly number[]
  /** Fetched from storage during each test; null where the peer does not say it test by test. */
  readonly osReadBytes: readonly (number | null)[]
}

export interface PeerRun {
  /** 'killed': by the kernel, most often for memory. That is a result, not an error. */
  readonly outcome: 'done' | 'killed' | 'failed' | 'timeout'
  readonly reason: string
  readonly figures: PeerFigures | undefined
  /** Of the peer's process, the whole run with loading. */
  readonly peakBytes: number | null
  readonly osReadBytesTotal: number | null
  readonly ms: number
}

export interface Peer {
  readonly name: 'llama-bench' | 'node-llama-cpp'
  readonly path: string
  /** What is known of its build before it ran. */
  readonly version: string
  /** How weights are held: "mmap, not repacked". */
  readonly weights: string
  run(request: PeerRequest): Promise<PeerRun>
}
