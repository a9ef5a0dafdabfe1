/** One test, once: the untimed lead, the timed part, and what was counted meanwhile. */
import type { Drive, Model, Sequence } from '../../ts/engine/index.js'
import { counted, type Counted, readsAtRest, snapshot, type Snapshot } from './counters.js'
import type { Prompts } from './prompts.js'
import { leadOf, type Protocol, type Test } from './tests.js'

export interface Bench {
  readonly model: Model
  readonly sequence: Sequence
  readonly drive: Drive
  readonly prompts: Prompts
  readonly signal: AbortSignal
  readonly onTokens?: ((done: number, total: number) => void) | undefined
}

export interface Repetition {
  readonly test: Test
  /** Number of the prompt: equal numbers must give equal tokens. */
  readonly prompt: number
  /** What was generated; of a prompt test the one token that follows it. */
  readonly tokens: readonly number[]
  /** From the request to its last token. */
  readonly ms: number
  /** Generation: time of each token. Several that arrived together share theirs. */
  readonly intervalsMs: readonly number[]
  /** From the request to its last token. */
  readonly timed: Counted
  /** Until read-ahead had come to rest as well: exact numbers of bytes, one read-ahead in for one out. */
  readonly whole: Counted
  /** The last tokens of a generation. */
  readonly steady: { readonly tokens: number; readonly intervalsMs: readonly number[]; readonly counted: Counted } | undefined
}

const steadyTokensLeast = 128

/** Tokens at the end of a generation of n that count as steady: half of it, at least 128. */
export const steadyTokens = (n: number): number => Math.min(n, Math.max(steadyTokensLeast, Math.floor(n / 2)))

export const greedy = { temperature: 0, ignoreEndTokens: true } as const

/** Errors: those of generate(); the signal's reason when it is aborted. */
export async function runRepetition(bench: Bench, protocol: Pick<Protocol, 'depth'>, test: Test, prompt: number): Promise<Repetition> {
  const { model, sequence, prompts, signal, drive } = bench
  const lead = leadOf(protocol, test)
  const isPrompt = test.kind === 'pp'
  const tokens = prompts.tokens(prompt, lead + (isPrompt ? test.tokens : 1))
  sequence.truncate(0)
  if (lead > 0) await sequence.evaluate(tokens.slice(0, lead), undefined, { signal })
  await readsAtRest(model)

  const wanted = isPrompt ? 1 : test.tokens
  const steadyFrom = wanted - steadyTokens(wanted)
  const begin = snapshot(model, drive)
  let steadyBegin: Snapshot = begin
  let steadyBeginTokens = 0
  let lastAt = begin.atMs
  const ids: number[] = []
  const intervalsMs: number[] = []
  for await (const chunk of sequence.generate(tokens.slice(lead), { ...greedy, maxTokens: wanted, signal })) {
    if (chunk.type === 'prompt-progress') bench.onTokens?.(chunk.processed, chunk.total)
    if (chunk.type !== 'text' || chunk.tokens.length === 0) continue
    const now = performance.now()
    for (const { id } of chunk.tokens) {
      ids.push(id)
      intervalsMs.push((now - lastAt) / chunk.tokens.length)
    }
    lastAt = now
    if (steadyBeginTokens === 0 && steadyFrom > 0 && ids.length >= steadyFrom) {
      steadyBegin = snapshot(model, drive)
      steadyBeginTokens = ids.length
    }
    if (!isPrompt) bench.onTokens?.(ids.length, wanted)
  }
  const end = { ...snapshot(model, drive), atMs: lastAt }
  await readsAtRest(model)
  const rest = snapshot(model, drive)
  const steadyIntervals = intervalsMs.slice(steadyBeginTokens)
  return {
    test, prompt, intervalsMs,
    tokens: ids,
    ms: lastAt - begin.atMs,
    timed: counted(begin, end),
    whole: counted(begin, rest),
    steady: isPrompt ? undefined : { tokens: steadyIntervals.length, intervalsMs: steadyIntervals, counted: counted(steadyBegin, end) },
  }
}
