/**
 * The miss-ratio curve of recency: what each number of slots would have missed, all in one pass.
 *
 * A block is found by every pool that has more slots than other blocks were used since its last use: its stack distance. Blocks of one
 * request count as used in the order of the request, and none of them pushes another out while it is served. The pool itself marks what
 * it finds before what it reads, so its order inside a request differs, and its misses by a few in a thousand.
 * @see Mattson, Gecsei, Slutz and Traiger 1970; distances by a Fenwick tree, Olken 1981
 */

/**
 * @param nBlocks ids are below this
 * @returns misses by number of slots, 0 .. nBlocks; the first uses miss everywhere
 */
export function missesOfRecency(requests: readonly (readonly number[])[], nBlocks: number): Float64Array {
  const uses = requests.reduce((sum, { length }) => sum + length, 0)
  /** 1 at the time of each block's last use; sums over ranges in log time. */
  const marks = new Int32Array(uses + 1)
  const mark = (time: number, by: 1 | -1): void => {
    for (let at = time; at <= uses; at += at & -at) marks[at]! += by
  }
  const marked = (upTo: number): number => {
    let sum = 0
    for (let at = upTo; at > 0; at -= at & -at) sum += marks[at]!
    return sum
  }
  const lastUse = new Float64Array(nBlocks)
  const foundAt = new Float64Array(nBlocks + 1)
  let time = 0
  let seen = 0
  for (const request of requests) {
    for (const block of request) if (lastUse[block]! > 0) foundAt[seen - marked(lastUse[block]!) + 1]! += 1
    for (const block of request) {
      if (lastUse[block]! > 0) mark(lastUse[block]!, -1)
      else seen++
      lastUse[block] = ++time
      mark(time, 1)
    }
  }
  const misses = new Float64Array(nBlocks + 1)
  let found = 0
  for (let slots = 0; slots <= nBlocks; slots++) misses[slots] = uses - (found += foundAt[slots]!)
  return misses
}
