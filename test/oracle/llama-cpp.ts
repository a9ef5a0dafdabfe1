/**
 * llama.cpp as a second implementation, through node-llama-cpp installed in this folder (`npm run setup` there).
 *
 * Teacher-forced logits of one window of tokens; the CPU build, so that arithmetic differs by rounding only.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkoutRoot } from '../../scripts/tidy.js'

interface LlamaModule {
  getLlama(options: { gpu: false; build: 'never'; logLevel: 'error' }): Promise<Llama>
}
interface Llama {
  loadModel(options: { modelPath: string; vocabOnly?: boolean }): Promise<LlamaModel>
}
export interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[]
  createContext(options: { contextSize: number; sequences: number; batchSize: number; threads: number }): Promise<LlamaContext>
  dispose(): Promise<void>
}
interface LlamaContext {
  getSequence(): LlamaSequence
  dispose(): Promise<void>
}
interface LlamaSequence {
  controlledEvaluate(input: [number, { generateNext: { logits: true } }][]): Promise<({ next: { logits: Map<number, number> } } | undefined)[]>
  clearHistory(): Promise<void>
}

const folder = join(checkoutRoot, 'test/oracle/node_modules/node-llama-cpp')

export const hasOracle = (): boolean => existsSync(folder)
export const oracleVersion = '3.22.1'

let opened: Promise<Llama> | undefined

/** The same instance every time: each one listens to the end of the process. */
export function openOracle(): Promise<Llama> {
  opened ??= open()
  return opened
}

async function open(): Promise<Llama> {
  if (!hasOracle()) throw new Error('node-llama-cpp is not installed: run "npm run setup" in test/oracle')
  const module = (await import(pathToFileURL(join(folder, 'dist/index.js')).href)) as LlamaModule
  return module.getLlama({ gpu: false, build: 'never', logLevel: 'error' })
}

/**
 * Rows of logits, one per token of each window; a window begins with an empty cache.
 * @param batchSize positions per evaluation: llama.cpp's arithmetic depends on it, ours does not
 */
export async function* oracleLogits(llama: Llama, modelPath: string, windows: readonly (readonly number[])[], nVocab: number, batchSize?: number): AsyncGenerator<Float32Array[]> {
  const model = await llama.loadModel({ modelPath })
  const longest = Math.max(...windows.map((window) => window.length))
  const context = await model.createContext({ contextSize: longest + 8, sequences: 1, batchSize: batchSize ?? longest, threads: batchSize === 1 ? 1 : 2 })
  try {
    const sequence = context.getSequence()
    for (const window of windows) {
      await sequence.clearHistory()
      const outputs = await sequence.controlledEvaluate(window.map((token) => [token, { generateNext: { logits: true } }]))
      yield outputs.map((output) => {
        const row = new Float32Array(nVocab)
        for (const [token, logit] of output!.next.logits) row[token] = logit
        return row
      })
    }
  } finally {
    await context.dispose()
    await model.dispose()
  }
}
