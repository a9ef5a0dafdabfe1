/** What is measured: prompt processing and token generation, by llama-bench's names. */

export interface Test {
  readonly kind: 'pp' | 'tg'
  readonly tokens: number
}

/** What to do, all of it decided before the model is loaded. */
export interface Protocol {
  readonly path: string
  readonly tests: readonly Test[]
  /** Positions that are in the cache before a test begins. */
  readonly depth: number
  readonly repetitions: number
  /** Untimed tokens after each load. */
  readonly warmupTokens: number
  readonly seed: number
}

/** Without -d, generation begins behind a few words: a single token would make every model babble. */
export const leadTokens = 32

export const leadOf = ({ depth }: Pick<Protocol, 'depth'>, { kind }: Pick<Test, 'kind'>): number => (kind === 'tg' ? Math.max(depth, leadTokens) : depth)

/** As llama-bench writes it: "tg128 @ d4096". */
export const testName = ({ kind, tokens }: Test, depth: number): string => `${kind}${tokens}${depth > 0 ? ` @ d${depth}` : ''}`

/** Positions that the longest test needs. The token sampled last is never evaluated and needs none. */
export function contextOf(protocol: Protocol): number {
  return Math.max(leadTokens + protocol.warmupTokens, ...protocol.tests.map((test) => leadOf(protocol, test) + test.tokens))
}
