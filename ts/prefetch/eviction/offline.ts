/**
 * Policies that replays are compared with and that no engine can run: the native pool takes one score per block, and these need
 * queues of their own, or the future.
 */

/** A pool of equal slots under a policy that is no score per block. */
export interface OfflinePool {
  has(block: number): boolean
  /** One layer's experts, each once. Returns those that were not there, in the order in which they are read. */
  request(blocks: readonly number[]): readonly number[]
}

export interface OfflinePolicy {
  readonly name: string
  /** @param requests all that will be asked for, in order; only a clairvoyant looks */
  create(slots: number, requests: readonly (readonly number[])[]): OfflinePool
}
