/**
 * The order of a benchmark.
 *
 *   alone           B · load, warm-up · round 0 · B · round 1 · … · B · round 0 again
 *   with a peer     B · [load, warm-up, round 0] · peer · B · [load, warm-up, round 1] · peer · … · B · [round 0 again]
 *
 * A round is every test once, each round with another prompt. The round that comes again shows drift, and its tokens must be
 * those of the first. Beside a peer, each of the two is closed while the other runs: they share one limit.
 */
import type { Drive, LoadOptions, Model } from '../../ts/engine/index.js'
import { type Agreement, requireAgreement } from './agreement.js'
import { type Bandwidth, BandwidthSamples, type Probe } from './bandwidth.js'
import type { Peer, PeerRun } from './baseline/peer.js'
import { dropPages } from './page-cache.js'
import type { Prompts } from './prompts.js'
import { type Bench, type Repetition, runRepetition } from './repetition.js'
import { compareResident } from './resident-check.js'
import { type SessionFacts, type SessionOptions, withSession } from './session.js'
import { leadOf, type Protocol, testName } from './tests.js'

export interface BenchOptions {
  readonly protocol: Protocol
  readonly load: LoadOptions
  readonly prompts: Prompts
  readonly paths: readonly string[]
  readonly drive: Drive
  readonly probe: Probe
  readonly peer: Peer | undefined
  readonly checkResident: boolean
  readonly signal: AbortSignal
  readonly reporter: Reporter
}

export interface Reporter {
  /** What is done now: "tg128, round 1 of 3". */
  stage(text: string): void
  readonly onLoad: NonNullable<LoadOptions['onLoadProgress']>
  onTokens(done: number, total: number): void
  /** Once, before the first round. */
  onLoaded(model: Model): void
  /** After the first round: how long one takes. */
  onRound(ms: number): void
  /** Takes what moves away. */
  end(): void
}

export interface BenchRun {
  readonly protocol: Protocol
  /** Of the first load. */
  readonly session: SessionFacts
  readonly repetitions: readonly Repetition[]
  /** Round 0 again. */
  readonly sentinel: readonly Repetition[]
  readonly bandwidth: Bandwidth
  /** Undefined when it was interrupted before anything could be compared. */
  readonly agreement: Agreement | undefined
  readonly peer: { readonly peer: Peer; readonly runs: readonly PeerRun[] } | undefined
  /** What stands here is not all that was asked for. */
  readonly isPartial: boolean
}

/** A peer that takes longer than this multiple of our own session, and than ten minutes, is ended. */
const peerPatience = 30
const peerMsLeast = 600_000

/** Errors: those of loadModel() and generate(); ERR_HYPURA_BUG when answers differ; the signal's reason before the first round. */
export async function runBench(options: BenchOptions): Promise<BenchRun> {
  const { protocol, peer, signal, reporter } = options
  const bandwidth = new BandwidthSamples(options.probe)
  const repetitions: Repetition[] = []
  const sentinel: Repetition[] = []
  const runs: PeerRun[] = []
  let session: SessionFacts | undefined
  let agreement: Agreement | undefined
  let isPartial = false

  const round = async (bench: Bench, index: number, into: Repetition[], label: string): Promise<void> => {
    const began = performance.now()
    for (const test of protocol.tests) {
      reporter.stage(`${testName(test, protocol.depth)}, ${label}`)
      into.push(await runRepetition(bench, protocol, test, index))
    }
    if (repetitions.length === protocol.tests.length && into === repetitions) reporter.onRound(performance.now() - began)
  }
  const probe = (): Promise<void> => {
    reporter.stage('reading, to measure the drive')
    return bandwidth.take(signal)
  }
  const labelOf = (index: number): string => `round ${index + 1} of ${protocol.repetitions}`
  /** Facts are wanted of an interrupted session too, so the abort ends the work and not the session. */
  const untilAborted = (work: (bench: Bench, model: Model) => Promise<void>): ((bench: Bench, model: Model) => Promise<void>) => async (bench, model) => {
    try {
      if (session === undefined) reporter.onLoaded(model)
      await work(bench, model)
    } catch (error) {
      if (!signal.aborted) throw error
      isPartial = true
    }
  }
  const sessionOptions: SessionOptions = { ...options, onLoad: reporter.onLoad, onTokens: (done: number, total: number) => reporter.onTokens(done, total) }

  try {
    await probe()
    if (peer === undefined) {
      session = await withSession(sessionOptions, untilAborted(async (bench) => {
        for (let index = 0; index < protocol.repetitions; index++) {
          await round(bench, index, repetitions, labelOf(index))
          await probe()
        }
        await round(bench, 0, sentinel, 'the first round again')
      }))
    } else {
      for (let index = 0; index < protocol.repetitions && !signal.aborted; index++) {
        const began = performance.now()
        const facts = await withSession(sessionOptions, untilAborted((bench) => round(bench, index, repetitions, labelOf(index))))
        session ??= facts
        if (signal.aborted) break
        reporter.stage(`${peer.name}, ${labelOf(index)}`)
        runs.push(await runPeer(options, peer, index, facts, performance.now() - began))
        await probe()
      }
      if (!signal.aborted) await withSession(sessionOptions, untilAborted((bench) => round(bench, 0, sentinel, 'the first round again')))
    }
    if (repetitions.length > 0) {
      const repeated = requireAgreement(repetitions, [...repetitions, ...sentinel], 'when it was asked again')
      const resident = signal.aborted ? { note: 'not compared: interrupted', comparisons: 0, tokens: 0 } : await compareResident(sessionOptions, session!.plan, repetitions, options.checkResident)
      agreement = { comparisons: repeated.comparisons + resident.comparisons, tokens: repeated.tokens + resident.tokens, resident: resident.note }
    }
  } catch (error) {
    if (!signal.aborted || session === undefined || repetitions.length === 0) throw error
    isPartial = true
  }
  return {
    protocol, repetitions, sentinel, agreement,
    session: session!,
    bandwidth: bandwidth.result,
    peer: peer === undefined ? undefined : { peer, runs },
    isPartial: isPartial || signal.aborted,
  }
}

async function runPeer(options: BenchOptions, peer: Peer, index: number, { engine, plan }: SessionFacts, ownMs: number): Promise<PeerRun> {
  const { protocol, paths, prompts, signal } = options
  dropPages(paths)
  const leads = protocol.tests.map((test) => leadOf(protocol, test))
  try {
    return await peer.run({
      path: protocol.path, tests: protocol.tests, depth: protocol.depth, threads: engine.threads, kvType: plan.regions.kvType, leads, signal,
      prompts: protocol.tests.map((test, i) => prompts.tokens(index, leads[i]! + (test.kind === 'pp' ? test.tokens : 1))),
      timeoutMs: Math.max(peerMsLeast, ownMs * peerPatience),
    })
  } catch (error) {
    signal.throwIfAborted()
    return { outcome: 'failed', reason: (error as Error).message, figures: undefined, peakBytes: null, osReadBytesTotal: null, ms: 0 }
  }
}
