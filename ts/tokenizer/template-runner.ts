/**
 * Owns the thread of one template: starts it when first needed, gives each job its time, kills it when the time is over
 * and tries once more in a fresh one with twice the time (the machine may be busy).
 *
 * Holds always: at most one worker, at most one request in it. The worker keeps the process alive only during a request.
 */
import { Worker } from 'node:worker_threads'
import { templateTimes, type TemplateTimes } from './limits.js'
import { TemplateFailure } from './template-failure.js'
import type { TemplateInput } from './template-program.js'
import type { WorkerReply, WorkerRequest } from './template-worker.js'

/** Never lower: below, growing one large list ends the whole process instead of the thread. */
const heapMiB = 512

export class TemplateRunner {
  readonly #source: string
  readonly #times: TemplateTimes
  #worker: Worker | undefined
  /** Jobs run one after another. */
  #queue: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(source: string, times: TemplateTimes = templateTimes) {
    this.#source = source
    this.#times = times
  }

  /** @throws TemplateFailure */
  render(input: TemplateInput): Promise<string> {
    const job = this.#queue.then(() => this.#renderTwice(input))
    this.#queue = job.catch(() => undefined)
    return job
  }

  /** Kills the worker; waiting jobs fail. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#drop()
  }

  async #renderTwice(input: TemplateInput): Promise<string> {
    const ms = Math.min(this.#times.most, this.#times.base + input.units / this.#times.unitsPerMs)
    try {
      return await this.#attempt(input, ms, 1)
    } catch (error) {
      if (this.#closed || !(error instanceof TemplateFailure) || error.reason !== 'time') throw error
      return await this.#attempt(input, ms, 2)
    }
  }

  async #attempt(input: TemplateInput, ms: number, factor: number): Promise<string> {
    const worker = await this.#ready(factor)
    const reply = await this.#ask(worker, { kind: 'render', input }, ms * factor, 'rendering')
    if (reply.kind !== 'rendered') throw new TemplateFailure('value', 'the template worker answered out of order')
    return reply.text
  }

  /** The worker with the template compiled; both are outside the time of a rendering. */
  async #ready(factor: number): Promise<Worker> {
    if (this.#closed) throw new TemplateFailure('value', 'the template is closed')
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./template-worker.js', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
      execArgv: [],
      stdin: false,
    })
    this.#worker = worker
    worker.on('error', () => this.#forget(worker))
    worker.on('exit', () => this.#forget(worker))
    await this.#ask(worker, undefined, this.#times.start * factor, 'starting')
    await this.#ask(worker, { kind: 'compile', source: this.#source }, this.#times.compile * factor, 'parsing')
    return worker
  }

  /** One request and its reply; the worker is gone when this fails for time or because it died. */
  #ask(worker: Worker, request: WorkerRequest | undefined, ms: number, doing: string): Promise<WorkerReply> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        worker.off('message', onMessage).off('error', onError).off('exit', onExit)
        worker.unref()
        settle()
      }
      const onMessage = (reply: WorkerReply): void => done(() => {
        if (reply.kind === 'failed') {
          if (request?.kind === 'compile') void this.#drop()
          reject(new TemplateFailure(reply.reason, reply.message, reply.line))
        } else {
          resolve(reply)
        }
      })
      const onError = (error: Error & { code?: string }): void => done(() => {
        const memory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        reject(memory ? new TemplateFailure('size', `more than ${heapMiB} MiB of memory while ${doing}`) : error)
      })
      const onExit = (): void => done(() => reject(new TemplateFailure('value', `the template worker ended while ${doing}`)))
      const expire = (): void => done(() => {
        void this.#drop()
        reject(new TemplateFailure('time', `${doing} took more than ${Math.round(ms)} ms`))
      })
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      worker.ref()
      // A reply that waits behind a busy event loop is read before `expire` runs.
      timer = setTimeout(() => {
        const immediate = setImmediate(expire)
        worker.once('message', () => clearImmediate(immediate))
      }, ms)
      if (request) worker.postMessage(request)
    })
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined
  }

  async #drop(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}
