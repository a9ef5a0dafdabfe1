/** stdout, for generated text and JSON: waits for a slow reader, and a reader that left is a quiet end. */
import { once } from 'node:events'
import { exitCodes } from './exit-codes.js'
import { fail } from './terminal.js'

/** `head -1` behind us closes the pipe, which is no error; a full disk is one. Call once. */
export function watchStreams(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.done)
    fail(`stdout cannot be written: ${error.message}`)
    process.exit(exitCodes.runtime)
  })
  process.stderr.on('error', () => undefined) // nobody is left who could be told
}

export async function write(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain')
}

export function writeJson(value: unknown): Promise<void> {
  return write(jsonText(value))
}

/** C1 control characters are escaped as well, which JSON leaves to the writer and some terminals obey. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item), 2)
  return `${text.replace(/[\u007f-\u009f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`
}
