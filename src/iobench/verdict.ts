/** What the figures of a sweep mean: is the engine's own way the best here, and may the result be believed and kept? */
import type { Drive, ReadCell } from '../../ts/engine/index.js'
import { percent } from '../format.js'
import { duelRounds, fastestOf, labelOf, medianOf, type SweepResult } from './sweep.js'

export interface Verdict {
  /** The median of the passes of the engine's own way: what plans are made with. */
  readonly own: ReadCell
  /** The fastest way: the rival's median where it won the duel, else the engine's own. */
  readonly best: ReadCell
  /** own / best, at most 1. */
  readonly share: number
  readonly text: string
  /** What lowers the worth of the figures, each a sentence. */
  readonly doubts: readonly string[]
  /** Why this is no profile of a drive; undefined when it is. */
  readonly notSavedBecause: string | undefined
}

/** A lead that two measurements in a row have by chance. */
const leadMin = 1.1
/** Below, a median of four passes would be one of milliseconds. */
const profileBytesLeast = 64 * 2 ** 20
/** What `hypura run` can be told to use. */
const engineBlockBytes = 4 * 2 ** 20

export function verdictOf(result: SweepResult, drive: Drive): Verdict {
  const own = medianOf(result.own)
  const rival = result.rival.length === 0 ? undefined : medianOf(result.rival)
  // Ahead in the median and in each round: anything less is a neighbour's pause.
  const wins = rival !== undefined && rival.bytesPerSecond >= leadMin * own.bytesPerSecond && result.rival.every((cell, i) => cell.bytesPerSecond > result.own[i + 1]!.bytesPerSecond)
  const best = wins ? rival : own
  return {
    own,
    best,
    share: own.bytesPerSecond / best.bytesPerSecond,
    text: textOf(own, rival, wins),
    doubts: doubtsOf(result, drive),
    notSavedBecause: whyNotSaved(result, drive),
  }
}

function textOf(own: ReadCell, rival: ReadCell | undefined, wins: boolean): string {
  if (own.cached) return 'none: the page cache served what should have come from the drive'
  if (rival === undefined) return 'none: no other way was measured'
  const lead = rival.bytesPerSecond / own.bytesPerSecond
  if (!wins) return `no way was faster than the engine's own in each round (${labelOf(rival)}, the fastest in the sweep, came to ${percent(lead)} of it)`
  const faster = `${labelOf(rival)} is ${percent(lead - 1)} faster than the engine's own way, in each of ${duelRounds} rounds`
  if (rival.blockBytes !== engineBlockBytes) return `${faster}; the engine does not read in such blocks`
  return `${faster}: try --io ${rival.backend} --io-depth ${rival.depth}`
}

function doubtsOf({ own, cells, rival, lone }: SweepResult, drive: Drive): string[] {
  const all = [...own, ...rival, ...cells, lone]
  const doubts: string[] = []
  if (drive.kind !== 'disk') doubts.push(`no figure of a local drive: ${drive.reason === '' ? `${drive.name} is ${drive.kind}` : drive.reason}`)
  const first = own[0]!
  if (!first.direct) doubts.push(`weights go through the page cache (${first.directReason}); their pages were dropped before each cell`)
  if (all.some(({ cached }) => cached)) doubts.push('cells marked "c" came from the page cache to more than a tenth')
  if (all.some(({ osBytes }) => osBytes === undefined)) doubts.push('the system does not say what it fetched: nothing proves that the drive was read')
  const again = cells.filter(({ repeatedShare }) => repeatedShare > 0.5).length
  if (again > 0) doubts.push(`${again} of ${cells.length} cells (marked "r") read places that were read before, perhaps from a cache in the drive or its host: a larger file or fewer cells avoid it`)
  const huge = medianBy(own, ({ hugePageShare }) => hugePageShare)
  if (huge < 0.5) doubts.push(`only ${percent(huge)} of the memory lies in huge pages, without which direct reads are slower (hypura doctor)`)
  const speeds = own.map(({ bytesPerSecond }) => bytesPerSecond)
  if (Math.max(...speeds) > 1.5 * Math.min(...speeds)) doubts.push('passes of the same way differ by more than half: somebody else uses the drive or the cores')
  return doubts
}

function whyNotSaved({ own }: SweepResult, drive: Drive): string | undefined {
  if (drive.kind === 'memory' || drive.kind === 'network' || drive.kind === 'overlay') return `this is no local drive (${drive.kind})`
  if (own.some(({ cached }) => cached)) return 'the page cache served part of it'
  const bytes = medianOf(own).bytes
  return bytes < profileBytesLeast ? `a pass has ${Math.round(bytes / 2 ** 20)} MiB, too few to judge a drive by: take a larger file` : undefined
}

function medianBy(cells: readonly ReadCell[], value: (cell: ReadCell) => number): number {
  return cells.map(value).sort((a, b) => a - b)[Math.floor((cells.length - 1) / 2)]!
}

/** The fastest single cell, for the table: luck included. */
export const fastestCell = ({ cells }: SweepResult): ReadCell | undefined => fastestOf(cells)
