/**
 * llama.cpp through the npm package node-llama-cpp, in a process of its own: it holds its memory until the process ends.
 *
 * The package offers no switch for repacking: where the kernels of this machine repack a type, its weights are copied out of
 * the mapped file, and in little memory the kernel ends the process. That is recorded as the result.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { HypuraError, type KvType } from '../../../ts/engine/index.js'
import { endOf, runPeerProcess } from './peer-process.js'
import type { Peer, PeerFigures, PeerRequest, PeerRun } from './peer.js'

/** Down, on stdin. */
export interface NodePeerRequest {
  /** The package's entry file. */
  readonly entry: string
  readonly path: string
  readonly threads: number
  readonly contextLength: number
  readonly kvType: KvType
  readonly tests: readonly { readonly kind: 'pp' | 'tg'; readonly tokens: number; readonly lead: number; readonly prompt: readonly number[] }[]
}

/** Up, as the last line of stdout. */
const answerSchema: z.ZodType<PeerFigures> = z.object({ speeds: z.array(z.number().positive()), osReadBytes: z.array(z.number().nullable()) })

const script = fileURLToPath(new URL('./node-peer.js', import.meta.url))

/** @param folder of the installed package */
export function nodeLlamaCpp(folder: string): Peer {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
  return {
    name: 'node-llama-cpp',
    path: folder,
    version,
    weights: 'mmap, repacked where its kernels do (the package cannot be told not to)',
    run: (request) => run(folder, request),
  }
}

async function run(folder: string, request: PeerRequest): Promise<PeerRun> {
  const longest = Math.max(...request.tests.map(({ tokens }, i) => request.leads[i]! + tokens + 1))
  const message: NodePeerRequest = {
    entry: join(folder, 'dist/index.js'),
    path: request.path,
    threads: request.threads,
    contextLength: longest + 8,
    kvType: request.kvType,
    tests: request.tests.map((test, i) => ({ ...test, lead: request.leads[i]!, prompt: request.prompts[i]! })),
  }
  const ended = await runPeerProcess(process.execPath, [script], { ...request, input: JSON.stringify(message) })
  const figures = ended.code === 0 ? parseAnswer(ended.stdout, request.tests.length) : undefined
  const outcome = figures === undefined ? endOf(ended) : { outcome: 'done' as const, reason: '' }
  return { ...outcome, figures, peakBytes: ended.peakBytes, osReadBytesTotal: ended.osReadBytes, ms: ended.ms }
}

/** Errors: ERR_HYPURA_UNSUPPORTED. */
export function parseAnswer(stdout: string, tests: number): PeerFigures {
  const line = stdout.trim().split('\n').at(-1) ?? ''
  try {
    const answer = answerSchema.parse(JSON.parse(line))
    if (answer.speeds.length === tests && answer.osReadBytes.length === tests) return answer
  } catch {
    // said below
  }
  throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `the process of node-llama-cpp answered ${JSON.stringify(line.slice(0, 200))} instead of its figures`)
}
