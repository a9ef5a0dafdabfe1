/**
 * The same model with every weight written out as F32: what a quantised file says, free of any engine's arithmetic.
 *
 * F32 rows are multiplied with F32 activations, here and in llama.cpp, so a run of the copy rounds activations to nothing
 * coarser than a float: beside the quantised file's own runs it is the truth that both engines approximate.
 */
import { openGguf } from '../../ts/gguf/parse.js'
import type { Metadata, TensorInfo } from '../../ts/gguf/types.js'
import { type GgufScalar, type GgufValue, type TensorSource, writeGguf } from '../../scripts/gguf-writer.js'
import { weightValues } from './weight-values.js'

const typeF32 = 0

/** Writes the copy: same metadata, same tensors in the same order, F32. Tensors of up to 64 MiB. */
export async function writeExactCopy(source: string, target: string): Promise<void> {
  const model = await openGguf(source)
  const tensors: TensorSource[] = []
  for (const tensor of model.tensors.values()) tensors.push(widened(tensor, await model.readTensor(tensor.name)))
  await writeGguf(target, { metadata: Array.from(model.metadata.keys(), (key) => [key, valueOf(model.metadata, key)] as const), tensors })
}

function widened({ name, dims, type }: TensorInfo, bytes: Uint8Array): TensorSource {
  return {
    name, dims, type: typeF32,
    *chunks() {
      yield new Uint8Array(Float32Array.from(weightValues(type, bytes)).buffer)
    },
  }
}

function valueOf(metadata: Metadata, key: string): GgufValue {
  const type = metadata.typeOf(key)!
  if (type !== 'array') return { type, value: metadata.preview(key) as GgufScalar }
  const { type: of, length } = metadata.arrayInfo(key)!
  if (of === 'array') throw new RangeError(`${key} is an array of arrays`)
  if (of === 'string') {
    const strings = metadata.strings(key)!
    return { type, of, values: Array.from({ length }, (_, i) => strings.bytes(i)) }
  }
  return { type, of, values: of === 'bool' ? metadata.booleans(key)! : metadata.numbers(key)! }
}
