/** A file under inspection: what it says, and what the engine would make of it, if anything. */
import { describeModel, type GgufModel, HypuraError, type ModelDescription, openGguf } from '../../ts/engine/index.js'

export interface Subject {
  readonly path: string
  readonly gguf: GgufModel
  /** Undefined when the engine cannot run it. */
  readonly description: ModelDescription | undefined
  /** Why it cannot. */
  readonly obstacle: HypuraError | undefined
}

/** Errors: those of openGguf(); what is only unsupported, or lacks tensors, is an obstacle and no error. */
export async function openSubject(path: string): Promise<Subject> {
  const gguf = await openGguf(path)
  try {
    const description = await describeModel(path)
    description.tokenizer()
    return { path, gguf, description, obstacle: undefined }
  } catch (error) {
    if (!(error instanceof HypuraError)) throw error
    return { path, gguf, description: undefined, obstacle: error }
  }
}

export const fileBytes = ({ gguf }: Subject): number => gguf.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

export function parameters({ gguf }: Pick<Subject, 'gguf'>): number {
  let sum = 0
  for (const { dims } of gguf.tensors.values()) sum += dims.reduce((product, dim) => product * dim, 1)
  return sum
}

/** Weight bytes that one token needs: all bands, the experts it is routed to, one row of the embedding. */
export function tokenBytes({ manifest, spec }: ModelDescription): number {
  const share = spec.nExpert === 0 ? 0 : spec.nExpertUsed / spec.nExpert
  return manifest.cycleBytes + manifest.trunkBytes + manifest.expertBytes * share + manifest.rowSlotBytes
}

/** A metadata text; undefined where it is missing or something else. */
export function textOf({ metadata }: GgufModel, key: string): string | undefined {
  return metadata.typeOf(key) === 'string' ? metadata.string(key) : undefined
}

/** "string", "u32", "f32[32000]". */
export function typeName({ metadata }: GgufModel, key: string): string {
  const array = metadata.arrayInfo(key)
  return array === undefined ? metadata.typeOf(key)! : `${array.type}[${array.length}]`
}

/** Elements shown of an array. */
export const previewLength = 8
