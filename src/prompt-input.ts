/** Where a prompt comes from: a file or stdin first, then the argument, joined by an empty line. */
import { readFile } from 'node:fs/promises'
import { text as readStream } from 'node:stream/consumers'
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
  return parts.length === 0 ? undefined : parts.join('\n\n')
}

async function readSource(path: string): Promise<string> {
  if (path === '-') return readStdin()
  try {
    return decode(await readFile(path), path)
  } catch (error) {
    if (error instanceof HypuraError) throw error
    throw new HypuraError('ERR_HYPURA_USAGE', `cannot read the prompt from ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}

async function readStdin(): Promise<string> {
  return (await readStream(process.stdin)).replace(/\r?\n$/, '')
}

function decode(bytes: Buffer, path: string): string {
  if (bytes.length > promptBytesMax) throw new HypuraError('ERR_HYPURA_USAGE', `${path} holds ${bytes.length} bytes, a prompt at most ${promptBytesMax}`, { path })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `${path} is not UTF-8 text`, { path }, { cause: error })
  }
}
