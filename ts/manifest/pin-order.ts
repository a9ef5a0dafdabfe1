/**
 * In which order bands are worth pinning: any prefix is spread evenly over the cycle.
 *
 * Positions are ranked by their bits in reverse (the first coordinates of a van der Corput sequence), so the first half of
 * the ranks are every second position, the first quarter every fourth. Then the compute on pinned bands always lies between
 * reads, a small ring suffices, and giving up the last ranks under memory pressure keeps the spread.
 *
 * Example: 6 positions: 0, 4, 2, 1, 5, 3.
 */
export function pinOrder(nBands: number): Uint32Array {
  const order = new Uint32Array(nBands)
  const bits = nBands <= 1 ? 0 : 32 - Math.clz32(nBands - 1)
  let count = 0
  for (let rank = 0; rank < 2 ** bits; rank++) {
    const position = reverseBits(rank, bits)
    if (position < nBands) order[count++] = position
  }
  return order
}

function reverseBits(value: number, bits: number): number {
  let reversed = 0
  for (let i = 0; i < bits; i++) reversed = reversed * 2 + ((value >>> i) & 1)
  return reversed
}
