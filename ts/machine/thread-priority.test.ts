// What could break: the whole process goes last instead of one thread, or nothing happens and nobody notices.
// How we notice: a worker asks for itself, and the system says how nice each thread of this process is.
import { readdirSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const module = new URL('./thread-priority.js', import.meta.url).href

/** Niceness of every thread of this process, by id. */
function niceness(): Map<string, number> {
  return new Map(readdirSync('/proc/self/task').map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'latin1')
    return [thread, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])]
  }))
}

test.runIf(process.platform === 'linux')('a thread that lets others go first does so alone', async () => {
  const before = niceness()
  const code = `import('${module}').then(({ letOthersGoFirst }) => { require('node:worker_threads').parentPort.postMessage(letOthersGoFirst(7)); setInterval(() => undefined, 1000) })`
  const worker = new Worker(code, { eval: true })
  try {
    expect(await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))).toBe(true)
    const now = niceness()
    const changed = [...now].filter(([thread, nice]) => nice !== (before.get(thread) ?? 0))
    expect(changed.map(([, nice]) => nice)).toEqual([7])
    expect(now.get(String(process.pid))).toBe(before.get(String(process.pid)))
  } finally {
    await worker.terminate()
  }
})
