/** Does greedy text run in circles? Random weights often do, and a circle finds its experts in memory. */

/** Length of the circle that the second half of the tokens consists of, at least twice; undefined when there is none. */
export function circleLength(tokens: readonly number[]): number | undefined {
  const tail = tokens.slice(Math.floor(tokens.length / 2))
  for (let length = 1; length <= tail.length / 2; length++) {
    if (tail.every((token, i) => i < length || token === tail[i - length])) return length
  }
  return undefined
}
