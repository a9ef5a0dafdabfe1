/** Traces and models: what a trace says of the model it was recorded on, and traces from files. */
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { HypuraError } from '../base/errors.js'
import { parseTrace } from '../trace/parse-trace.js'
import { traceLimits } from '../trace/format.js'
import type { Trace, TraceModel } from '../trace/trace.js'
import type { ModelDescription } from './model-description.js'
import { modelIdentity, openToRead, unreadable } from './model-identity.js'
import type { ModelPlan } from './plan-model.js'

/** Errors: ERR_HYPURA_UNSUPPORTED_MODEL when it is dense; ERR_HYPURA_IO. */
export async function traceModelOf({ path, gguf, manifest, spec }: ModelDescription, plan: ModelPlan): Promise<TraceModel> {
  if (manifest.experts.count === 0) throw new HypuraError('ERR_HYPURA_UNSUPPORTED_MODEL', `${path} is dense: it has no experts, and so no choices to record`, { path })
  const { cliff } = plan
  return {
    architecture: manifest.architecture,
    name: gguf.metadata.string('general.name') ?? basename(path),
    sha256: await modelIdentity(gguf),
    nLayer: spec.nLayer, nLayerDenseLead: spec.nLayerDenseLead, nExpert: spec.nExpert, nExpertUsed: spec.nExpertUsed,
    expertBytes: manifest.blocks.hullBytes.slice(manifest.experts.first, manifest.experts.first + manifest.experts.count),
    besideBytes: cliff === undefined ? 0 : cliff.total - cliff.experts,
  }
}

/** Errors: ERR_HYPURA_NOT_FOUND, ERR_HYPURA_IO, ERR_HYPURA_CORRUPT_TRACE with offset. */
export async function readTrace(path: string): Promise<Trace> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? new HypuraError('ERR_HYPURA_NOT_FOUND', `there is no ${path}; record one with hypura trace`, { path }, { cause: error }) : unreadable(path, error)
  })
  if (!info.isFile()) throw new HypuraError('ERR_HYPURA_CORRUPT_TRACE', `${path} is no file`, { path })
  if (info.size > traceLimits.fileBytes) throw new HypuraError('ERR_HYPURA_CORRUPT_TRACE', `${path} has ${info.size} bytes; a trace has at most ${traceLimits.fileBytes}`, { path })
  await using file = await openToRead(path)
  return parseTrace(await file.readFile().catch((error: Error) => { throw unreadable(path, error) }), basename(path))
}
