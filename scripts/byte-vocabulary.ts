/**
 * A working byte-level BPE vocabulary of any size from 257 on: every text can be encoded, common English is shorter.
 *
 * Id 0 is `<|endoftext|>` (begin and end), 1 to 256 are the bytes, then merges trained on the text below, then unused
 * tokens up to the size asked for. Deterministic.
 * @see Sennrich et al. 2016 (BPE); the printable names of bytes are those of GPT-2
 */
export interface Vocabulary {
  readonly tokens: readonly string[]
  /** 1 normal, 3 control, 5 unused. */
  readonly types: Int32Array
  readonly merges: readonly string[]
  readonly endId: number
}

const mergesMax = 512
const sizeMin = 257

const text = `A lighthouse keeper lived at the end of a long road, where the land was so thin that the sea could be heard on both sides. Every evening he climbed the stairs, counted them aloud, and lit the lamp; every morning he came down again and wrote the weather into a book. There were three hundred and twelve steps, and there had never been more or less.

One night the count came to three hundred and thirteen. He stood at the top with his hand on the rail and thought that he must have been dreaming on the way. So he went down and counted again, and then once more, and each time there was one step too many. "Well," he said to the lamp, "somebody has given us a stair, and it would be rude not to use it."

The next ship that passed was a small one with a red sail. Its captain called up to him: "How far is it to the harbour?" The keeper looked at his book, at the wind and at the stars, and answered: "As far as it was yesterday, and one step more." The captain laughed, and wrote that into his own book, and they have both been used to it ever since. What is the answer to a question that nobody has asked? It is waiting for them, on the stair between the last one and the first.`

export function byteVocabulary(size: number): Vocabulary {
  if (!Number.isInteger(size) || size < sizeMin) throw new RangeError(`a byte vocabulary has at least ${sizeMin} tokens, not ${size}`)
  const byteNames = printableBytes()
  const merges = trainMerges(byteNames, Math.min(mergesMax, size - sizeMin))
  const used = ['<|endoftext|>', ...byteNames, ...merges.map(([left, right]) => left + right)]
  const tokens = [...used, ...Array.from({ length: size - used.length }, (_, i) => `<extra_${i}>`)]
  const types = new Int32Array(size).fill(5).fill(1, 0, used.length)
  types[0] = 3
  return { tokens, types, merges: merges.map((pair) => pair.join(' ')), endId: 0 }
}

/** GPT-2's names of the 256 bytes: printable ones stand for themselves, the others are moved to U+0100 and up. */
function printableBytes(): string[] {
  const printable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  let moved = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : moved++))
}

type Pair = readonly [left: string, right: string]

/** The most frequent pair first, ties by order of appearance; pairs that occur once are not merged. */
function trainMerges(byteNames: readonly string[], count: number): Pair[] {
  const words = countWords(byteNames)
  const merges: Pair[] = []
  // Two ways to the same token would give it two ids, so each text is merged once.
  const made = new Set(byteNames)
  while (merges.length < count) {
    const best = mostFrequentPair(words, made)
    if (best === undefined) break
    merges.push(best)
    made.add(best[0] + best[1])
    for (const word of words) word.symbols = mergePair(word.symbols, best)
  }
  return merges
}

interface Word { symbols: string[]; readonly count: number }

function countWords(byteNames: readonly string[]): Word[] {
  const counts = new Map<string, number>()
  for (const [piece] of text.matchAll(/ ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+/g)) counts.set(piece, (counts.get(piece) ?? 0) + 1)
  return [...counts].map(([piece, count]) => ({ symbols: [...Buffer.from(piece)].map((byte) => byteNames[byte]!), count }))
}

function mostFrequentPair(words: readonly Word[], made: ReadonlySet<string>): Pair | undefined {
  const counts = new Map<string, { pair: Pair; count: number }>()
  for (const { symbols, count } of words) {
    for (let i = 1; i < symbols.length; i++) {
      const pair: Pair = [symbols[i - 1]!, symbols[i]!]
      const known = counts.get(pair.join(' '))
      if (known !== undefined) known.count += count
      else if (!made.has(pair.join(''))) counts.set(pair.join(' '), { pair, count })
    }
  }
  let best: { pair: Pair; count: number } | undefined
  for (const candidate of counts.values()) if (candidate.count > (best?.count ?? 1)) best = candidate
  return best?.pair
}

function mergePair(symbols: readonly string[], [left, right]: Pair): string[] {
  const merged: string[] = []
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) merged.push(left + symbols[++i]!)
    else merged.push(symbols[i]!)
  }
  return merged
}
