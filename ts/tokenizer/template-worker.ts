/**
 * Thread that compiles and renders one template for template-runner.ts. It is killed from outside when it runs over its
 * time; what it counts itself is in template-budget.ts.
 */
import { parentPort } from 'node:worker_threads'
import { TemplateFailure, type TemplateReason } from './template-failure.js'
import { compileTemplate, type TemplateInput, type TemplateProgram } from './template-program.js'

export type WorkerRequest =
  | { readonly kind: 'compile'; readonly source: string }
  | { readonly kind: 'render'; readonly input: TemplateInput }

/** `compiled` and `rendered` answer the request; `failed` carries a TemplateFailure as plain data. */
export type WorkerReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'compiled' }
  | { readonly kind: 'rendered'; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: TemplateReason; readonly message: string; readonly line: number | undefined }

let program: TemplateProgram | undefined

function answer(request: WorkerRequest): WorkerReply {
  try {
    if (request.kind === 'compile') {
      program = compileTemplate(request.source)
      return { kind: 'compiled' }
    }
    return { kind: 'rendered', text: program!.render(request.input).text }
  } catch (error) {
    const { reason, message, line } = error instanceof TemplateFailure ? error : new TemplateFailure('value', String(error))
    return { kind: 'failed', reason, message, line }
  }
}

parentPort?.on('message', (request: WorkerRequest) => parentPort!.postMessage(answer(request)))
parentPort?.postMessage({ kind: 'ready' } satisfies WorkerReply)
