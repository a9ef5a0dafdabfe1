import type { OfflinePolicy } from './offline.js'

/** Of the pool, for blocks seen once. */
const smallShare = 0.1
const usesMax = 3

/**
 * Three queues: new blocks pass through a small one and leave it unless they were used again; a ghost of what left lets a block that
 * returns soon into the main queue, where use buys another round. Simulator only: a place in a queue is no score.
 *
 * Of one request nothing leaves before all of it was served.
 * @see Yang et al. 2023, FIFO queues are all you need for cache eviction
 */
export const s3Fifo: OfflinePolicy = {
  name: 's3-fifo',
  create(slots) {
    const smallSlots = Math.max(1, Math.floor(slots * smallShare))
    const ghostsMax = slots - smallSlots
    /** Uses since it came, by block; a map keeps the order in which they came. */
    const small = new Map<number, number>()
    const main = new Map<number, number>()
    const ghosts = new Set<number>()
    const has = (block: number): boolean => small.has(block) || main.has(block)

    const oldest = (queue: ReadonlyMap<number, number>, wanted: ReadonlySet<number>): number | undefined => {
      for (const block of queue.keys()) if (!wanted.has(block)) return block
      return undefined
    }
    const remember = (block: number): void => {
      ghosts.add(block)
      if (ghosts.size > ghostsMax) ghosts.delete(ghosts.values().next().value!)
    }
    /** Frees one slot. Each round lets a block go, moves it to main, or takes one of its uses: it ends. */
    const evict = (wanted: ReadonlySet<number>): void => {
      for (;;) {
        const [fromSmall, fromMain] = [oldest(small, wanted), oldest(main, wanted)]
        if (fromSmall !== undefined && (small.size >= smallSlots || fromMain === undefined)) {
          const uses = small.get(fromSmall)!
          small.delete(fromSmall)
          if (uses > 1) main.set(fromSmall, 0)
          else return remember(fromSmall)
        } else if (fromMain !== undefined) {
          const uses = main.get(fromMain)!
          main.delete(fromMain)
          if (uses === 0) return
          main.set(fromMain, uses - 1)
        } else {
          // All are wanted by a request larger than the pool: what was served first makes room.
          const [served] = [...small.keys(), ...main.keys()]
          small.delete(served!)
          main.delete(served!)
          return
        }
      }
    }

    return {
      has,
      request(blocks) {
        const missing = blocks.filter((block) => !has(block))
        const wanted = new Set(blocks)
        for (const queue of [small, main]) {
          for (const block of blocks) if (queue.has(block)) queue.set(block, Math.min(usesMax, queue.get(block)! + 1))
        }
        for (const block of missing) {
          if (small.size + main.size >= slots) evict(wanted)
          if (ghosts.delete(block)) main.set(block, 0)
          else small.set(block, 0)
        }
        return missing
      },
    }
  },
}
