/** A model as its header describes it: no weights are read, no memory is placed. */
import { HypuraError } from '../base/errors.js'
import type { GgufModel } from '../gguf/types.js'
import { openGguf } from '../gguf/parse.js'
import { type BlockManifest, buildManifest } from '../manifest/block-manifest.js'
import type { ModelSpec } from '../manifest/model-spec.js'
import { createTokenizer, type Tokenizer } from '../tokenizer/tokenizer.js'

export interface ModelDescription {
  readonly path: string
  readonly gguf: GgufModel
  readonly manifest: BlockManifest
  readonly spec: ModelSpec
  /** Made on first use. Errors: ERR_HYPURA_UNSUPPORTED_TOKENIZER, ERR_HYPURA_CORRUPT_GGUF. */
  tokenizer(): Tokenizer
}

/**
 * Reads the header of a model, of all its parts when it is split.
 * @param options.tokenizerPre name of the pre-tokenizer to use instead of the file's
 *
 * Errors: ERR_HYPURA_NOT_FOUND, NOT_GGUF, CORRUPT_GGUF, SHARD_MISSING, UNSUPPORTED_ARCH, UNSUPPORTED_TENSOR_TYPE,
 * UNSUPPORTED_MODEL; INVALID_ARGUMENT for what is no path.
 */
export async function describeModel(path: string, { tokenizerPre }: { readonly tokenizerPre?: string | undefined } = {}): Promise<ModelDescription> {
  if (typeof path !== 'string' || path === '') throw new HypuraError('ERR_HYPURA_INVALID_ARGUMENT', `the path of a model is a text, not ${path === '' ? 'an empty one' : String(path)}`, { field: 'path' })
  const gguf = await openGguf(path)
  const manifest = await buildManifest(gguf)
  let tokenizer: Tokenizer | undefined
  return {
    path, gguf, manifest, spec: manifest.spec,
    tokenizer: () => (tokenizer ??= createTokenizer(gguf.metadata, tokenizerPre === undefined ? {} : { pre: tokenizerPre })),
  }
}
