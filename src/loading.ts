/** Loading as people see it: a progress bar, then the line that says which mode runs and why. */
import { loadModel, type LoadOptions, type MemoryChange, type Model } from '../ts/engine/index.js'
import { bytes, rate, sizeArgument } from './format.js'
import { note, progressLine, warn } from './terminal.js'

export async function loadWithProgress(path: string, options: LoadOptions): Promise<Model> {
  const bar = progressLine('loading')
  try {
    const model = await loadModel(path, {
      ...options,
      onMemoryChange: (change) => note(memoryLine(change)),
      onLoadProgress: (progress) => {
        if (progress.totalBytes > 0) bar.update(progress.fraction, `${bytes(progress.bytes)} of ${bytes(progress.totalBytes)}${progress.phase === 'compare' ? ', comparing the copies' : ''}`)
      },
    })
    bar.clear()
    note(modeLine(model))
    for (const text of model.warnings) warn(text)
    return model
  } catch (error) {
    bar.clear()
    throw error
  }
}

const why: Readonly<Record<MemoryChange['reason'], string>> = {
  pressure: 'others wait for memory', limit: 'less is left under its limit', room: 'there is room again',
}

/** One line whenever the engine shrank or grew. */
export function memoryLine({ fromBytes, toBytes, loadedBytes, reason }: MemoryChange): string {
  return `memory: ${toBytes < fromBytes ? 'shrank' : 'grew'} from ${bytes(fromBytes)} to ${bytes(toBytes)} of ${bytes(loadedBytes)} (${why[reason]})`
}

/** First line of every run, so that nobody measures the wrong mode. */
export function modeLine(model: Model): string {
  const { plan, facts } = model
  const io = `${facts.ioBackend} ${facts.direct ? 'direct' : `buffered (${facts.directReason})`}`
  const weights = plan.mode === 'mmap'
    ? `${bytes(plan.modelBytes)} of weights left to the page cache`
    : plan.mode === 'resident' || plan.mode === 'bare'
      ? `all ${bytes(plan.modelBytes)} of weights in memory`
      : `${bytes(plan.residentBytes)} of ${bytes(plan.modelBytes)} in memory`
  return [
    `mode: ${plan.mode}`,
    io,
    ...copiesRead(model),
    `budget ${bytes(plan.budgetBytes)} (${weights})`,
    `floor ${sizeArgument(plan.floor.total)}`,
    `process ${bytes(plan.processBytes)} beside it`,
    `${facts.isa}, ${facts.threads} thread${facts.threads === 1 ? '' : 's'}`,
    `context ${plan.contextLength}${plan.regions.kvType === 'f16' ? '' : ` (KV ${plan.regions.kvType})`}`,
  ].join(' · ')
}

/** Nothing where there is one copy. */
function copiesRead(model: Model): string[] {
  const copies = model.driveShares()
  if (copies.length === 1) return []
  const drives = new Map(copies.map(({ drive, driveBytesPerSecond }) => [drive, driveBytesPerSecond > 0 ? `${drive} ${rate(driveBytesPerSecond / 1e9)} GB/s` : drive]))
  return [`${copies.length} copies on ${drives.size} drive${drives.size === 1 ? '' : 's'} (${[...drives.values()].join(' + ')})`]
}
