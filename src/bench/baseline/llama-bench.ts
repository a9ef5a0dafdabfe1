/**
 * llama.cpp by its own bench program. Its flags differ between versions, so the ones to use are read from its help text; its
 * rows are read as JSON.
 */
import { spawnSync } from 'node:child_process'
import { z } from 'zod'
import { HypuraError, type KvType } from '../../../ts/engine/index.js'
import type { Test } from '../tests.js'
import { endOf, runPeerProcess } from './peer-process.js'
import type { Peer, PeerRequest, PeerRun } from './peer.js'

const helpMs = 20_000

export interface LlamaBenchRow {
  readonly n_prompt: number
  readonly n_gen: number
  readonly avg_ts: number
}

const rowSchema: z.ZodType<LlamaBenchRow> = z.object({ n_prompt: z.number(), n_gen: z.number(), avg_ts: z.number().nonnegative() })

/** Errors: ERR_HYPURA_USAGE when the program cannot be run or is something else. */
export function llamaBench(path: string): Peer {
  const { stdout, stderr, error } = spawnSync(path, ['--help'], { encoding: 'utf8', timeout: helpMs, input: '' })
  const help = `${stdout ?? ''}${stderr ?? ''}`
  if (error !== undefined || !help.includes('--n-prompt') || !help.includes('--repetitions')) {
    throw new HypuraError('ERR_HYPURA_USAGE', `--baseline: ${path} is not a llama-bench program (${error?.message ?? 'its --help names no --n-prompt'}); give the path of llama-bench, or none to use node-llama-cpp`, { path })
  }
  const weights = weightFlags(help)
  return { name: 'llama-bench', path, version: 'see its rows', weights: weights.words, run: (request) => run(path, help, weights.flags, request) }
}

/** Flags for weights that stay in the mapped file, by what this version's help offers. */
export function weightFlags(help: string): { flags: string[]; words: string } {
  const mapped = /--load-mode\b/.test(help) ? ['-lm', 'mmap'] : ['-mmp', '1']
  const plain = /--no-repack\b/.test(help) ? ['--no-repack']
    : /--repack <0\|1>/.test(help) ? ['--repack', '0']
    : /--repack <[^>]*off/.test(help) ? ['--repack', 'off']
    // A buffer type by name leaves the repacking ones out.
    : /--override-tensor\b/.test(help) ? ['-ot', '.*=CPU'] : undefined
  return plain === undefined
    ? { flags: mapped, words: 'mmap, as it repacks by itself (this version cannot be told not to)' }
    : { flags: [...mapped, ...plain], words: 'mmap, not repacked' }
}

/** Flags for a KV cache of this type: blocks of values need flash attention. */
export function cacheFlags(help: string, kvType: KvType): string[] {
  if (kvType === 'f16') return []
  return ['-ctk', kvType, '-ctv', kvType, '-fa', /--flash-attn <0\|1>/.test(help) ? '1' : 'on']
}

async function run(path: string, help: string, weights: readonly string[], request: PeerRequest): Promise<PeerRun> {
  const tokens = (kind: Test['kind']): string => request.tests.filter((test) => test.kind === kind).map((test) => test.tokens).join(',') || '0'
  const ended = await runPeerProcess(path, [
    '-m', request.path, '-p', tokens('pp'), '-n', tokens('tg'), '-r', '1', '-t', String(request.threads), '-o', 'json', ...weights, ...cacheFlags(help, request.kvType),
    ...(request.depth > 0 ? ['-d', String(request.depth)] : []),
    ...(/--n-gpu-layers\b/.test(help) ? ['-ngl', '0'] : []),
  ], request)
  const figures = ended.code === 0 ? { speeds: speedsOf(parseRows(ended.stdout), request.tests), osReadBytes: request.tests.map(() => null) } : undefined
  const outcome = figures === undefined ? endOf(ended) : { outcome: 'done' as const, reason: '' }
  return { ...outcome, figures, peakBytes: ended.peakBytes, osReadBytesTotal: ended.osReadBytes, ms: ended.ms }
}

/** Errors: ERR_HYPURA_UNSUPPORTED with what was found instead. */
export function parseRows(stdout: string): LlamaBenchRow[] {
  let value: unknown
  try {
    value = JSON.parse(stdout)
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `llama-bench printed no JSON: ${JSON.stringify(stdout.slice(0, 100))}`, {}, { cause: error })
  }
  const rows = z.array(rowSchema).safeParse(value)
  if (rows.success) return rows.data
  const issue = rows.error.issues[0]!
  throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `llama-bench printed rows of an unknown form: ${issue.path.join('.')}: ${issue.message}`)
}

/** The speed of each test. Errors: ERR_HYPURA_UNSUPPORTED when a row is missing. */
export function speedsOf(rows: readonly LlamaBenchRow[], tests: readonly Test[]): number[] {
  return tests.map(({ kind, tokens }) => {
    const row = rows.find(({ n_prompt, n_gen }) => (kind === 'pp' ? n_prompt === tokens && n_gen === 0 : n_gen === tokens && n_prompt === 0))
    if (row === undefined) throw new HypuraError('ERR_HYPURA_UNSUPPORTED', `llama-bench printed no row for ${kind}${tokens}`)
    return row.avg_ts
  })
}
