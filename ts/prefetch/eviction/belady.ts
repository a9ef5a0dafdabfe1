import type { OfflinePolicy } from './offline.js'

const never = Infinity

/**
 * The clairvoyant bound: of what was there and what came, the blocks that are wanted soonest stay. Simulator only: it needs the
 * future.
 *
 * It may let go of a block as soon as that was used, which the native pool cannot, so no policy without guesses has more hits,
 * whatever its rules: each request is answered from what was there when it came, and keeping what is wanted soonest is best when all
 * blocks fill one slot each. Hits are counted, not bytes.
 * @see Belady 1966; with bypass: Mattson et al. 1970
 */
export const belady: OfflinePolicy = {
  name: 'belady',
  create(slots, requests) {
    const nextUse = nextUses(requests)
    const wantedAt = new Map<number, number>()
    const farthest = heap()
    let request = 0
    return {
      has: (block) => wantedAt.has(block),
      request(blocks) {
        const missing = blocks.filter((block) => !wantedAt.has(block))
        blocks.forEach((block, i) => {
          wantedAt.set(block, nextUse[request]![i]!)
          farthest.push(nextUse[request]![i]!, block)
        })
        request++
        while (wantedAt.size > slots) {
          const { key, block } = farthest.pop()
          // What was used since has an entry of its own.
          if (wantedAt.get(block) === key) wantedAt.delete(block)
        }
        return missing
      },
    }
  },
}

/** By request and place in it: the number of the next request that names the same block. */
function nextUses(requests: readonly (readonly number[])[]): Float64Array[] {
  const after = new Map<number, number>()
  const uses: Float64Array[] = new Array<Float64Array>(requests.length)
  for (let request = requests.length - 1; request >= 0; request--) {
    uses[request] = Float64Array.from(requests[request]!, (block) => after.get(block) ?? never)
    for (const block of requests[request]!) after.set(block, request)
  }
  return uses
}

/** Largest key first. */
function heap(): { push(key: number, block: number): void; pop(): { key: number; block: number } } {
  const keys: number[] = []
  const blocks: number[] = []
  const swap = (a: number, b: number): void => {
    ;[keys[a], keys[b]] = [keys[b]!, keys[a]!]
    ;[blocks[a], blocks[b]] = [blocks[b]!, blocks[a]!]
  }
  return {
    push(key, block) {
      let at = keys.push(key) - 1
      blocks.push(block)
      for (let up = (at - 1) >> 1; at > 0 && keys[at]! > keys[up]!; up = (at - 1) >> 1) {
        swap(at, up)
        at = up
      }
    },
    pop() {
      swap(0, keys.length - 1)
      const [key, block] = [keys.pop()!, blocks.pop()!]
      for (let at = 0, down = 1; down < keys.length; at = down, down = 2 * at + 1) {
        if (down + 1 < keys.length && keys[down + 1]! > keys[down]!) down++
        if (keys[at]! >= keys[down]!) break
        swap(at, down)
      }
      return { key, block }
    },
  }
}
