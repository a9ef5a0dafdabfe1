/** One model, run by both engines in every way that tells what their difference is made of. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeModel, type KvType, loadModel } from '../../ts/engine/index.js'
import { type Agreement, AgreementMeter } from '../support/compare-logits.js'
import { writeExactCopy } from './exact-copy.js'
import { openOracle, oracleLogits } from './llama-cpp.js'
import { writeNudgedCopy } from './nudged-copy.js'

/** Token lists; each begins with an empty cache. */
type Windows = readonly (readonly number[])[]
/** Rows of logits, window after window. */
type Rows = readonly Float32Array[]

export interface Agreements {
  /** Against llama.cpp's run of the file in batches, as the bar is. */
  readonly llama: {
    readonly ours: Agreement
    /** llama.cpp itself, one position after the other. */
    readonly single: Agreement
    /** llama.cpp itself, on a copy whose norm weights differ in their last bit. */
    readonly nudged: Agreement
    /** Our run of the F32 copy: activations are rounded to no less than a float. */
    readonly exact: Agreement
  }
  /** Against that run of the F32 copy: who is nearer to what the file says. */
  readonly exact: {
    readonly ours: Agreement
    readonly llama: Agreement
    /** llama.cpp's run of the same copy: nearly nothing, or the copy is not what it claims to be. */
    readonly copy: Agreement
  }
}

/** The two runs that the bar is about, and what a KV cache of blocks does to ours. */
export interface OursAlone {
  readonly llama: { readonly ours: Agreement }
  readonly q8_0?: {
    readonly ours: Agreement
    readonly llama: Agreement
  }
}

/** Both engines agree on an F32 model to 1e-9; a copy with one wrong formula is off by 1e-2 and more. */
const copyNmseMax = 1e-7

/** Throws when the engines disagree on the F32 copy. */
export async function compareRuns(path: string, windows: Windows): Promise<Agreements> {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-runs-'))
  try {
    const copy = join(folder, 'exact.gguf')
    const nudged = join(folder, 'nudged.gguf')
    await writeExactCopy(path, copy)
    await writeNudgedCopy(path, nudged)
    const agreement = between(windows)
    const llama = await runLlama(path, windows)
    const ours = await runOurs(path, windows)
    const exact = await runOurs(copy, windows)
    const result: Agreements = {
      llama: {
        ours: agreement(llama, ours),
        single: agreement(llama, await runLlama(path, windows, 1)),
        nudged: agreement(llama, await runLlama(nudged, windows)),
        exact: agreement(llama, exact),
      },
      exact: { ours: agreement(exact, ours), llama: agreement(exact, llama), copy: agreement(exact, await runLlama(copy, windows)) },
    }
    const { nmse } = result.exact.copy
    if (!(nmse <= copyNmseMax)) throw new Error(`${path}: the engines differ by an NMSE of ${nmse} on the F32 copy, which rounds nothing; look at weight-values.ts first`)
    return result
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param kvType 'q8_0' runs us a second time, with such a cache: against llama.cpp's run with halves, and against our own */
export async function compareOurs(path: string, windows: Windows, kvType: KvType): Promise<OursAlone> {
  const agreement = between(windows)
  const llama = await runLlama(path, windows)
  const ours = await runOurs(path, windows)
  const result = { llama: { ours: agreement(llama, ours) } }
  if (kvType === 'f16') return result
  const blocks = await runOurs(path, windows, kvType)
  return { ...result, q8_0: { ours: agreement(ours, blocks), llama: agreement(llama, blocks) } }
}

async function runOurs(path: string, windows: Windows, kvType: KvType = 'f16'): Promise<Rows> {
  const { nVocab } = (await describeModel(path)).spec
  const longest = Math.max(...windows.map((window) => window.length))
  await using model = await loadModel(path, { memory: '8GiB', contextLength: longest, logitsRows: 32, kvType })
  await using sequence = model.createSequence()
  const all: Float32Array[] = []
  for (const window of windows) {
    sequence.truncate(0)
    await sequence.evaluate(window, (rows, _, count) => {
      for (let i = 0; i < count; i++) all.push(rows.slice(i * nVocab, (i + 1) * nVocab))
    })
  }
  return all
}

async function runLlama(path: string, windows: Windows, batchSize?: number): Promise<Rows> {
  const { nVocab } = (await describeModel(path)).spec
  const all: Float32Array[] = []
  for await (const rows of oracleLogits(await openOracle(), path, windows, nVocab, batchSize)) all.push(...rows)
  return all
}

/** Compares rows of these windows; the token after a window's last is not known. */
function between(windows: Windows): (reference: Rows, other: Rows) => Agreement {
  const next = windows.flatMap((window) => [...window.slice(1), undefined])
  return (reference, other) => {
    if (reference.length !== other.length) throw new Error(`${other.length} rows stand against ${reference.length}`)
    const meter = new AgreementMeter()
    reference.forEach((row, i) => meter.add(row, other[i]!, next[i]))
    return meter.result()
  }
}
