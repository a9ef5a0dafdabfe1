/** A model of gigabytes that takes a megabyte on disk: a real header, and a hole where the weights would be (all zero). */
import { truncateSync, writeFileSync } from 'node:fs'
import { encodeHeader, padded, tensorBytes } from '../../scripts/gguf-writer.js'
import { modelMetadata, modelTensors } from '../../scripts/model-content.js'
import { resolveShape } from '../../scripts/model-shape.js'

/** 1b-wide layers in Q8_0: 70 of them are 3.4 GB. */
export function writeSparseModel(path: string, layers: number): void {
  const shape = resolveShape({ layers, quant: 'q8_0' }, '1b')
  const tensors = modelTensors(shape)
  const header = encodeHeader({ metadata: modelMetadata(shape), tensors })
  writeFileSync(path, header)
  truncateSync(path, tensors.reduce((at, { type, dims }) => padded(at + tensorBytes(type, dims), 32), padded(header.length, 32)))
}
