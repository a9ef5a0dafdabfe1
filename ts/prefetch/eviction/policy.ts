/** What an eviction policy sees and gives. To add one: docs/adding/eviction-policy.md. */

export interface EvictionView {
  /** Ids of the experts, and what each occupies and costs to read. */
  readonly experts: readonly { readonly id: number; readonly bytes: number }[]
  /** Blocks in all: the length of the scores. */
  readonly nBlocks: number
  /** Decayed, by block id; 0 .. 1. */
  readonly usesPerToken: Float64Array
  /** Seconds until a block of so many bytes is read. */
  readonly readSeconds: (bytes: number) => number
}

export interface EvictionPolicy {
  readonly name: string
  /** One score per block id, finite and >= 0. Pure: the same view gives the same scores. */
  scores(view: EvictionView): Float32Array
}
