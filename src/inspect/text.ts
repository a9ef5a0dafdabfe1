/** `hypura inspect` for people. Whatever a file contains, its control characters do not reach the terminal. */
import { bytes, count, table } from '../format.js'
import { printable } from '../terminal.js'
import { fileBytes, parameters, previewLength, type Subject, textOf, tokenBytes, typeName } from './subject.js'

/** Characters of a value; longer ones are cut. */
const valueLengthMax = 100
const labelWidth = 18

export function summaryText(subject: Subject): string {
  const { path, gguf, description, obstacle } = subject
  const architecture = textOf(gguf, 'general.architecture') ?? 'unknown'
  const pre = textOf(gguf, 'tokenizer.ggml.pre')
  const rows: [label: string, value: string][] = [
    ['file', gguf.files.length === 1 ? path : `${path} (${gguf.files.length} parts)`],
    ['size', `${bytes(fileBytes(subject))}, GGUF v${gguf.version}`],
    ['tensors', gguf.tensors.size === 0 ? 'none' : `${gguf.tensors.size}, ${count(parameters(subject))} parameters`],
  ]
  if (description === undefined) {
    rows.push(['architecture', architecture])
  } else {
    const { spec } = description
    rows.push(
      ['architecture', `${architecture}, ${spec.nExpert === 0 ? 'dense' : `${spec.nExpert} experts, ${spec.nExpertUsed} used`}`],
      ['shape', `${spec.nLayer} layers, ${spec.nEmbd} wide, ${spec.nHead} heads / ${spec.nHeadKv} KV of ${spec.headDimK}, vocabulary ${spec.nVocab}`],
      ['context', `${spec.contextTrain} positions`],
      ['touched per token', bytes(tokenBytes(description))],
    )
  }
  rows.push(
    ['tokenizer', `${textOf(gguf, 'tokenizer.ggml.model') ?? 'none'}${pre === undefined ? '' : `, pre ${pre}`}`],
    ['chat template', textOf(gguf, 'tokenizer.chat_template') === undefined ? 'none' : 'yes'],
    ['runs', obstacle === undefined ? 'yes' : `no: ${obstacle.message} (${obstacle.code})`],
  )
  return rows.map(([label, value]) => `${label.padEnd(labelWidth)}${oneLine(value)}`).join('\n')
}

export function metadataText({ gguf }: Subject): string {
  return [...gguf.metadata.keys()].map((key) => `${oneLine(key).padEnd(44)} ${typeName(gguf, key).padEnd(14)} ${preview(gguf, key)}`).join('\n')
}

export function tensorsText({ gguf }: Subject): string {
  if (gguf.tensors.size === 0) return 'there are no tensors in this file'
  return table([
    ['tensor', 'type', 'shape', 'bytes', 'file', 'offset'],
    ...[...gguf.tensors.values()].map(({ name, typeName: type, dims, bytes: size, file, offset }) => [oneLine(name), type, dims.join(' x '), String(size), String(file), String(offset)]),
  ])
}

export function templateText({ gguf }: Subject): string {
  const source = textOf(gguf, 'tokenizer.chat_template')
  return source === undefined ? 'no chat template' : printable(source)
}

function preview({ metadata }: Subject['gguf'], key: string): string {
  const text = JSON.stringify(metadata.preview(key, previewLength), (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item)) ?? ''
  const more = (metadata.arrayInfo(key)?.length ?? 0) > previewLength ? ' …' : ''
  return oneLine(text.length > valueLengthMax ? `${text.slice(0, valueLengthMax)}…` : text) + more
}

/** A value cannot look like several lines of ours. */
const oneLine = (text: string): string => printable(text).replace(/[\n\t\u2028\u2029]+/g, ' ')
