/**
 * What keeps guesses cheap (docs/architecture.md, section 11): at most 15 % of the bytes that were asked for in the last 256 reads, and
 * none at all while most of those guesses were wrong, until the next plan.
 */

const windowReads = 256
const bytesShareMax = 0.15
const precisionMin = 0.5
/** Fewer outcomes say nothing. */
const outcomesMin = 8

interface Read {
  readonly bytes: number
  readonly isGuess: boolean
  /** undefined: not known yet. */
  used: boolean | undefined
}

export interface GuessBounds {
  /** May so many bytes be read on a guess? */
  allows(bytes: number): boolean
  demand(bytes: number): void
  /** Returns what to call when it is known whether the guess was right. */
  guess(bytes: number): (used: boolean) => void
  /** A new plan gives guesses another chance. */
  renew(): void
}

export function guessBounds(): GuessBounds {
  let reads: Read[] = []
  let isOff = false
  const add = (read: Read): void => {
    reads.push(read)
    if (reads.length > windowReads) reads = reads.slice(-windowReads)
  }
  const bytesOf = (isGuess: boolean): number => reads.reduce((sum, read) => sum + (read.isGuess === isGuess ? read.bytes : 0), 0)
  return {
    allows: (bytes) => !isOff && bytesOf(true) + bytes <= bytesShareMax * bytesOf(false),
    demand: (bytes) => add({ bytes, isGuess: false, used: true }),
    guess(bytes) {
      const read: Read = { bytes, isGuess: true, used: undefined }
      add(read)
      return (used) => {
        read.used = used
        const known = reads.filter((one) => one.isGuess && one.used !== undefined)
        const right = known.filter((one) => one.used === true).length
        isOff ||= known.length >= outcomesMin && right < precisionMin * known.length
      }
    },
    renew() {
      // Old mistakes would switch it off at once.
      if (isOff) reads = reads.filter(({ isGuess }) => !isGuess)
      isOff = false
    },
  }
}
