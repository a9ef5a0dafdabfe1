/** What a person sees while a benchmark runs: one line on the terminal, the mode, and how long it will take. */
import { bytes, duration } from '../format.js'
import { modeLine } from '../loading.js'
import { note, progressLine, warn } from '../terminal.js'
import type { Reporter } from './run-bench.js'

/** Shorter ones need no warning. */
const longMs = 60_000

export function progressReporter(rounds: number): Reporter {
  let bar = progressLine('')
  return {
    stage(text) {
      bar.clear()
      bar = progressLine(text)
      bar.update(0, '')
    },
    onLoad: ({ fraction, bytes: done, totalBytes }) => bar.update(fraction, `loading, ${bytes(done)} of ${bytes(totalBytes)}`),
    onTokens: (done, total) => bar.update(done / total, `${done} of ${total} tokens`),
    onLoaded(model) {
      bar.clear()
      note(modeLine(model))
      for (const text of model.warnings) warn(text)
    },
    onRound(ms) {
      if (ms * rounds < longMs) return
      bar.clear()
      note(`one round takes ${duration(ms)}; ${rounds} to go: about ${duration(ms * rounds)}`)
    },
    end: () => bar.clear(),
  }
}
