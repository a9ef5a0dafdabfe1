/** `hypura inspect -o json`: the same facts for programs. */
import { previewLength, fileBytes, parameters, type Subject, textOf, tokenBytes, typeName } from './subject.js'
import { sumByType, sumByUse } from './use-map.js'

export function summaryJson(subject: Subject): unknown {
  const { path, gguf, description, obstacle } = subject
  return {
    schema: 1, path, version: gguf.version,
    files: gguf.files.map((file) => ({ path: file.path, bytes: file.sizeBytes, data_offset: file.dataOffset })),
    file_bytes: fileBytes(subject),
    architecture: textOf(gguf, 'general.architecture') ?? null,
    parameters: parameters(subject),
    runs: obstacle === undefined,
    obstacle: obstacle === undefined ? null : { code: obstacle.code, message: obstacle.message, details: obstacle.details },
    ...(mapJson(subject) as object),
    spec: description === undefined ? null : { ...description.spec, invFreq: [...description.spec.invFreq] },
    metadata: metadataJson(subject),
    tensors: tensorsJson(subject),
  }
}

export function metadataJson({ gguf }: Subject): unknown {
  return Object.fromEntries([...gguf.metadata.keys()].map((key) => [key, { type: typeName(gguf, key), value: gguf.metadata.preview(key, previewLength) }]))
}

export function tensorsJson({ gguf }: Subject): unknown {
  return [...gguf.tensors.values()]
}

/** by_use and bytes_per_token are null for a file that does not run. */
export function mapJson(subject: Subject): unknown {
  const { gguf, description } = subject
  return {
    tensor_bytes: gguf.tensorBytes,
    by_use: description === undefined ? null : Object.fromEntries(sumByUse(description)),
    by_type: Object.fromEntries(sumByType(subject)),
    bytes_per_token: description === undefined ? null : tokenBytes(description),
  }
}

export function templateJson({ gguf }: Subject): unknown {
  return { template: textOf(gguf, 'tokenizer.chat_template') ?? null }
}
