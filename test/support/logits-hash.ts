/** SHA-256 of the logits of a fixed token sequence, under any way of placing and computing: the oracle of all oracles. */
import { createHash } from 'node:crypto'
import { describeModel, loadModel, type LoadOptions } from '../../ts/engine/index.js'

/** Seeded ids without control tokens' meaning: any id is a legal input. */
export function testTokens(nVocab: number, count: number, seed = 1): number[] {
  let state = seed >>> 0
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * nVocab)
  })
}

export interface LogitsRun extends LoadOptions {
  readonly positions: number
}

/** Also says what the run was like, so that a test can see that it streamed. */
export interface LogitsHash {
  readonly sha256: string
  readonly mode: string
  readonly readBytes: number
  readonly missBytes: number
}

export async function logitsHash(path: string, { positions, ...options }: LogitsRun): Promise<LogitsHash> {
  const { spec } = await describeModel(path)
  await using model = await loadModel(path, { contextLength: positions, ...options })
  await using sequence = model.createSequence()
  const hash = createHash('sha256')
  const before = model.stats()
  await sequence.evaluate(testTokens(spec.nVocab, positions), (rows) => {
    hash.update(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
  })
  const after = model.stats()
  return { sha256: hash.digest('hex'), mode: model.plan.mode, readBytes: after.readBytes - before.readBytes, missBytes: after.missBytes - before.missBytes }
}

export interface Configuration {
  readonly budget: 'resident' | 'floor' | '40 %' | '70 %'
  readonly backend: 'uring' | 'pread'
  readonly threads: number
  readonly batchSize: number
  /** Of kernels. */
  readonly isa: string
}

/** Does something with the kernels of one instruction set, which a model chooses when it is opened. */
export async function withIsa<T>(isa: string, work: () => Promise<T>): Promise<T> {
  const before = process.env['HYPURA_ISA']
  process.env['HYPURA_ISA'] = isa
  try {
    return await work()
  } finally {
    if (before === undefined) delete process.env['HYPURA_ISA']
    else process.env['HYPURA_ISA'] = before
  }
}

/** Every combination with the instruction sets that run here; 4 x 2 x 3 x 3 times as many, 4 x 2 x 4 x 4 where there is time. */
export function allConfigurations(isas: readonly string[], isLong: boolean): Configuration[] {
  const list: Configuration[] = []
  for (const budget of ['resident', 'floor', '40 %', '70 %'] as const)
    for (const backend of ['uring', 'pread'] as const)
      for (const threads of isLong ? [1, 2, 3, 4] : [1, 2, 4])
        for (const batchSize of isLong ? [1, 7, 64, 512] : [1, 7, 512])
          for (const isa of isas) list.push({ budget, backend, threads, batchSize, isa })
  return list
}


/**
 * Enough of `all` that every pair of values of two settings occurs (or every triple of three): greedy, deterministic. A fault in
 * one setting, or in two together, shows as well as in the full product, at a fraction of the time.
 */
export function cover<T extends object>(all: readonly T[], together: 2 | 3): T[] {
  const setsOf = (configuration: T): string[] => {
    const values = Object.entries(configuration).map(([name, value]) => `${name}=${String(value)}`)
    const pairs = values.flatMap((a, i) => values.slice(i + 1).map((b, j) => ({ names: `${a} ${b}`, next: i + j + 2 })))
    return together === 2 ? pairs.map(({ names }) => names) : pairs.flatMap(({ names, next }) => values.slice(next).map((c) => `${names} ${c}`))
  }
  const ofEach = new Map(all.map((configuration) => [configuration, setsOf(configuration)]))
  const missing = new Set([...ofEach.values()].flat())
  const chosen: T[] = []
  while (missing.size > 0) {
    const gain = (configuration: T): number => ofEach.get(configuration)!.filter((set) => missing.has(set)).length
    const best = all.reduce((most, candidate) => (gain(candidate) > gain(most) ? candidate : most))
    for (const set of ofEach.get(best)!) missing.delete(set)
    chosen.push(best)
  }
  return chosen
}
