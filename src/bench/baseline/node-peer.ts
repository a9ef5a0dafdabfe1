/**
 * The process in which node-llama-cpp is measured: request on stdin, figures as one JSON line on stdout.
 *
 * Measured as our own tests are: an untimed lead, then the clock runs from the request to the last token; greedy. One token
 * after loading is the warm-up, as llama-bench does it.
 */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import type { NodePeerRequest } from './node-llama-cpp.js'

interface Module {
  getLlama(options: { gpu: false; build: 'never'; logLevel: 'error' }): Promise<Llama>
}
interface Llama {
  loadModel(options: { modelPath: string; useMmap: true; gpuLayers: 0; ignoreMemorySafetyChecks: true }): Promise<PeerModel>
}
interface ContextOptions {
  contextSize: number
  sequences: 1
  batchSize: number
  threads: { ideal: number; min: number }
  ignoreMemorySafetyChecks: true
  flashAttention?: true
  experimentalKvCacheKeyType?: string
  experimentalKvCacheValueType?: string
}
interface PeerModel {
  createContext(options: ContextOptions): Promise<{ getSequence(): PeerSequence }>
}
interface PeerSequence {
  clearHistory(): Promise<void>
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>
  evaluate(tokens: readonly number[], options: { temperature: 0; yieldEogToken: true }): AsyncGenerator<number>
}

/** Positions of one evaluation, llama-bench's default. */
const batchSize = 512

async function main(): Promise<void> {
  const { entry, path, threads, contextLength, kvType, tests } = JSON.parse(await text(process.stdin)) as NodePeerRequest
  const { getLlama } = (await import(pathToFileURL(entry).href)) as Module
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
  const model = await llama.loadModel({ modelPath: path, useMmap: true, gpuLayers: 0, ignoreMemorySafetyChecks: true })
  const type = kvType.toUpperCase()
  const cache = kvType === 'f16' ? {} : { flashAttention: true, experimentalKvCacheKeyType: type, experimentalKvCacheValueType: type } as const
  const context = await model.createContext({ contextSize: contextLength, sequences: 1, batchSize, threads: { ideal: threads, min: threads }, ignoreMemorySafetyChecks: true, ...cache })
  const sequence = context.getSequence()
  await generate(sequence, tests[0]!.prompt.slice(0, 1), 1)

  const speeds: number[] = []
  const osReadBytes: (number | null)[] = []
  for (const { kind, tokens, lead, prompt } of tests) {
    await sequence.clearHistory()
    if (lead > 0) await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(0, lead))
    const before = readBytes()
    const began = performance.now()
    await generate(sequence, prompt.slice(lead), kind === 'pp' ? 1 : tokens)
    speeds.push((tokens * 1000) / (performance.now() - began))
    const after = readBytes()
    osReadBytes.push(before === null || after === null ? null : after - before)
  }
  process.stdout.write(`${JSON.stringify({ speeds, osReadBytes })}\n`, () => process.exit(0)) // without waiting for its threads
}

/** Until `count` tokens came: the sweep that would make one more is not begun. */
async function generate(sequence: PeerSequence, prompt: readonly number[], count: number): Promise<void> {
  let made = 0
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) if (++made >= count) break
}

function readBytes(): number | null {
  try {
    const found = /^read_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))
    return found === null ? null : Number(found[1])
  } catch {
    return null
  }
}

await main()
