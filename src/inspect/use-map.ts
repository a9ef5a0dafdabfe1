/** Bytes by use and by type, and the file as a strip of characters. */
import type { ModelDescription } from '../../ts/engine/index.js'
import { bytes, percent, table } from '../format.js'
import { printable } from '../terminal.js'
import { fileBytes, type Subject } from './subject.js'

const uses = ['trunk (always in memory)', 'bands (pinned or streamed)', 'embedding rows', 'experts'] as const
const stripWidth = 72
const largestShown = 5

export function mapText(subject: Subject): string {
  const { gguf, description } = subject
  const total = gguf.tensorBytes
  if (gguf.tensors.size === 0) return 'map: there are no tensors in this file'
  const rows = (sums: ReadonlyMap<string, number>): string[][] => [...sums].sort((a, b) => b[1] - a[1]).map(([name, size]) => [`  ${name}`, bytes(size), percent(size / total)])
  const largest = [...gguf.tensors.values()].sort((a, b) => b.bytes - a.bytes).slice(0, largestShown)
  return [
    `map of ${bytes(total)} of tensors${description === undefined ? '' : ' (. trunk  # bands  e embedding  x experts)'}`,
    ...(description === undefined ? [] : [strip(subject, description)]),
    table([
      ...(description === undefined ? [] : [['by use', '', ''], ...rows(sumByUse(description))]),
      ['by type', '', ''], ...rows(sumByType(subject)),
      ['largest', '', ''], ...largest.map(({ name, bytes: size }) => [`  ${printable(name)}`, bytes(size), percent(size / total)]),
    ]),
  ].join('\n')
}

/** Bytes by use. A tied head counts twice: as bands and as embedding rows. */
export function sumByUse({ manifest }: ModelDescription): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [kind, size] of pieces(manifest)) sums.set(uses[kind]!, (sums.get(uses[kind]!) ?? 0) + size)
  return sums
}

export function sumByType({ gguf }: Subject): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { typeName: name, bytes: size } of gguf.tensors.values()) sums.set(name, (sums.get(name) ?? 0) + size)
  return sums
}

/** Block kind, bytes, file and offset of every extent. */
function* pieces({ blocks, extents }: ModelDescription['manifest']): Generator<[kind: number, bytes: number, file: number, offset: number]> {
  for (let block = 0; block < blocks.count; block++) {
    for (let i = 0; i < blocks.extentCount[block]!; i++) {
      const extent = blocks.firstExtent[block]! + i
      yield [blocks.kind[block]!, extents.bytes[extent]!, extents.file[extent]!, extents.offset[extent]!]
    }
  }
}

/** All files in a row; each cell shows the use of most of its bytes. */
function strip(subject: Subject, { manifest }: ModelDescription): string {
  const { files } = subject.gguf
  const starts = files.map((_, file) => files.slice(0, file).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0))
  const cells = Array.from({ length: stripWidth }, () => new Float64Array(uses.length))
  const cellBytes = fileBytes(subject) / stripWidth
  for (const [kind, size, file, offset] of pieces(manifest)) {
    const begin = starts[file]! + offset
    for (let cell = Math.floor(begin / cellBytes); cell < stripWidth && cell * cellBytes < begin + size; cell++) {
      cells[cell]![kind]! += Math.min(begin + size, (cell + 1) * cellBytes) - Math.max(begin, cell * cellBytes)
    }
  }
  return cells.map((shares) => (shares.every((share) => share === 0) ? ' ' : '.#ex'[shares.indexOf(Math.max(...shares))])).join('')
}
