/** Where a prompt comes from: a file or stdin first, then the argument, joined by an empty line. */
import { readFile } from 'node:fs/promises'
import { HypuraError } from '../ts/engine/index.js'

/** Bytes of one prompt file or of stdin: far more than any context holds. */
const promptBytesMax = 64 * 2 ** 20

export interface PromptSources {
  /** -p, or the positional argument. */
  readonly prompt?: string | undefined
  /** -f: a path, or "-" for stdin. */
  readonly file?: string | undefined
}

/** The prompt; undefined when none was given and stdin is a terminal. */
export async function readPrompt({ prompt, file }: PromptSources): Promise<string | undefined> {
  const parts: string[] = []
  if (file !== undefined) parts.push(await readSource(file))
  else if (prompt === undefined && process.stdin.isTTY !== true) parts.push(await readStdin())
  if (prompt !== undefined) parts.push(prompt)
  if (parts.length === 0) return undefined
  const whole = parts.join('\n\n')
  if (whole === '' && prompt === undefined) throw new HypuraError('ERR_HYPURA_USAGE', `the prompt is empty: ${file === undefined || file === '-' ? 'nothing came on stdin' : `there is nothing in ${file}`}; give one with -p TEXT`)
  return whole
}

function readSource(path: string): Promise<string> {
  return path === '-' ? readStdin() : readTextFile(path)
}

/** Errors: ERR_HYPURA_USAGE when it cannot be read, is too long or is not UTF-8. */
export async function readTextFile(path: string): Promise<string> {
  try {
    return decode(await readFile(path), path)
  } catch (error) {
    if (error instanceof HypuraError) throw error
    throw new HypuraError('ERR_HYPURA_USAGE', `cannot read the text of ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > promptBytesMax) break // an endless pipe
  }
  return decode(Buffer.concat(chunks), 'stdin').replace(/\r?\n$/, '')
}

function decode(bytes: Buffer, path: string): string {
  if (bytes.length > promptBytesMax) throw new HypuraError('ERR_HYPURA_USAGE', `${path} holds ${bytes.length} bytes or more, a prompt at most ${promptBytesMax}`, { path })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `${path} is not UTF-8 text`, { path }, { cause: error })
  }
}
