/** stdout, for generated text and JSON: waits for a slow reader, and a reader that left is a quiet end. */
import { once } from 'node:events'
import { exitCodes } from './exit-codes.js'

let watched = false

/** `head -1` behind us closes the pipe: not an error. */
export function quietOnClosedPipe(): void {
  if (watched) return
  watched = true
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.done)
    throw error
  })
}

export async function write(text: string): Promise<void> {
  if (text !== '' && !process.stdout.write(text)) await once(process.stdout, 'drain')
}

export function writeJson(value: unknown): Promise<void> {
  return write(`${JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item), 2)}\n`)
}
