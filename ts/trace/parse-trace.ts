/**
 * Reads a trace (docs/formats/trace.md) as untrusted input: every size is checked before memory is spent on it, every id
 * before it becomes an index, the sum at the end.
 */
import { crc32 } from 'node:zlib'
import { HypuraError } from '../base/errors.js'
import { endBytes, fixedHeaderBytes, idBytes, recordTags, traceFormat, traceLimits, traceMagic, unionBytes } from './format.js'
import { mixtureLayers, type Trace, type TraceModel } from './trace.js'

/**
 * @param name the file's, for messages
 * Errors: ERR_HYPURA_CORRUPT_TRACE with the byte offset of what is wrong.
 */
export function parseTrace(bytes: Uint8Array, name: string): Trace {
  const source = new Source(bytes, name)
  if (bytes.length > traceLimits.fileBytes) source.refuse(0, `has ${bytes.length} bytes; a trace has at most ${traceLimits.fileBytes}`)
  const model = readHeader(source)
  return readRecords(source, model)
}

class Source {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly #name: string
  at = 0

  constructor(bytes: Uint8Array, name: string) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#name = name
  }

  refuse(offset: number, what: string): never {
    throw new HypuraError('ERR_HYPURA_CORRUPT_TRACE', `${this.#name} ${what} (byte ${offset}). Record it again with hypura trace.`, { path: this.#name, offset })
  }

  /** Where `count` bytes begin; moves behind them. */
  take(count: number, what: string): number {
    const begin = this.at
    if (count > this.bytes.length - begin) this.refuse(begin, `ends inside ${what}: it was cut short`)
    this.at = begin + count
    return begin
  }

  varint(max: number, what: string): number {
    const begin = this.at
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.take(1, what)]!
      value += (byte & 0x7f) * scale
      if (value > max) this.refuse(begin, `gives ${what} as more than ${max}`)
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) this.refuse(begin, `writes ${what} with more bytes than it needs`)
        return value
      }
    }
  }

  text(what: string): string {
    const begin = this.take(2, what)
    const length = this.view.getUint16(begin, true)
    if (length > traceLimits.textBytes) this.refuse(begin, `gives ${what} ${length} bytes; at most ${traceLimits.textBytes} are allowed`)
    const from = this.take(length, what)
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.bytes.subarray(from, from + length))
    } catch {
      this.refuse(from, `has ${what} that is not UTF-8`)
    }
  }
}

function readHeader(source: Source): TraceModel {
  const { view, bytes } = source
  source.take(4, 'its magic')
  if (view.getUint32(0, true) !== traceMagic) source.refuse(0, 'is not a routing trace')
  source.take(fixedHeaderBytes - 4, 'its header')
  if (view.getUint32(4, true) !== traceFormat) source.refuse(4, `is of trace format ${view.getUint32(4, true)}; this version reads ${traceFormat}`)
  const [nLayer, nLayerDenseLead, nExpert, nExpertUsed] = [12, 14, 16, 18].map((at) => view.getUint16(at, true)) as [number, number, number, number]
  if (nLayer === 0 || nLayer > traceLimits.layers) source.refuse(12, `has ${nLayer} layers; 1 to ${traceLimits.layers} are possible`)
  if (nLayerDenseLead >= nLayer) source.refuse(14, `has no mixture layer (${nLayerDenseLead} dense ones of ${nLayer})`)
  if (nExpert === 0) source.refuse(16, 'has no experts')
  if (nExpertUsed === 0 || nExpertUsed > nExpert) source.refuse(18, `uses ${nExpertUsed} of ${nExpert} experts`)
  const layers = nLayer - nLayerDenseLead
  if (layers * nExpert > traceLimits.blocks) source.refuse(12, `has ${layers} x ${nExpert} experts; at most ${traceLimits.blocks} are possible`)
  if (view.getUint32(20, true) !== 0) source.refuse(20, 'has a reserved field that is not 0')
  const besideBytes = Number(view.getBigUint64(24, true))
  if (!Number.isSafeInteger(besideBytes)) source.refuse(24, 'gives more memory than any machine has')
  const architecture = source.text('the architecture')
  const name = source.text('the name')
  // At least one byte each: what is not there is noticed before room is made for it.
  if (source.bytes.length - source.at < layers * (nExpert + 1)) source.refuse(source.at, 'ends inside its sizes: it was cut short')
  const expertBytes = new Float64Array(layers * nExpert)
  for (let layer = 0; layer < layers; layer++) {
    const least = source.varint(0xffff_ffff, 'the size of an expert')
    if (least === 0) source.refuse(source.at - 1, 'has experts of 0 bytes')
    for (let expert = 0; expert < nExpert; expert++) expertBytes[layer * nExpert + expert] = least + source.varint(0xffff_ffff, 'the size of an expert')
  }
  if (view.getUint32(8, true) !== source.at) source.refuse(8, `gives its header ${view.getUint32(8, true)} bytes, but it has ${source.at}`)
  const sha256 = [...bytes.subarray(32, 64)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return { architecture, name, sha256, nLayer, nLayerDenseLead, nExpert, nExpertUsed, expertBytes, besideBytes }
}

function readRecords(source: Source, model: TraceModel): Trace {
  const { bytes, view } = source
  const layers = mixtureLayers(model)
  const { nExpert, nExpertUsed } = model
  const columns = { positions: [] as number[], compute: [] as number[], gap: [] as boolean[] }
  const choices = new Choices(source)
  /** Where each (sweep, layer) begins in the choices. */
  const begins: number[] = [0]
  let gap = false
  for (;;) {
    const at = source.take(1, 'its records (there is no end record)')
    const tag = bytes[at]!
    if (tag === recordTags.end) break
    if (tag === recordTags.gap) {
      if (gap) source.refuse(at, 'has two gaps in a row')
      gap = true
      continue
    }
    if (tag !== recordTags.position && tag !== recordTags.union) source.refuse(at, `has a record of the unknown kind ${tag}`)
    const positions = tag === recordTags.position ? 1 : source.varint(traceLimits.positions, 'the positions of a sweep')
    if (columns.positions.length === traceLimits.sweeps) source.refuse(at, `has more than ${traceLimits.sweeps} sweeps`)
    if (tag === recordTags.union && positions < 2) source.refuse(at, `has a union of ${positions} positions`)
    columns.positions.push(positions)
    columns.compute.push(source.varint(0xffff_ffff, 'a computing time'))
    columns.gap.push(gap)
    gap = false
    for (let layer = 0; layer < layers; layer++) {
      if (tag === recordTags.position) choices.addIds(nExpert, nExpertUsed)
      else choices.addUnion(nExpert, nExpertUsed, Math.min(nExpert, positions * nExpertUsed))
      begins.push(choices.length)
    }
  }
  const sweeps = columns.positions.length
  const end = source.take(endBytes, 'its end record')
  if (view.getUint32(end, true) !== sweeps) source.refuse(end, `counts ${view.getUint32(end, true)} sweeps, but has ${sweeps}`)
  if (view.getUint32(end + 12, true) !== crc32(bytes.subarray(0, end + 12))) source.refuse(end + 12, 'has a wrong checksum: it was damaged')
  if (source.at !== bytes.length) source.refuse(source.at, `goes on for ${bytes.length - source.at} bytes behind its end`)
  const ids = choices.ids()
  return {
    model, sweeps,
    positions: (sweep) => columns.positions[sweep]!,
    computeMicroseconds: (sweep) => columns.compute[sweep]!,
    followsGap: (sweep) => columns.gap[sweep]!,
    experts: (sweep, layer) => ids.subarray(begins[sweep * layers + layer], begins[sweep * layers + layer + 1]),
    lostEvents: view.getUint32(end + 4, true),
    skippedSweeps: view.getUint32(end + 8, true),
  }
}

/** All choices, one behind the other. */
class Choices {
  readonly #source: Source
  #ids = new Uint16Array(4_096)
  length = 0

  constructor(source: Source) {
    this.#source = source
  }

  ids(): Uint16Array {
    return this.#ids.subarray(0, this.length)
  }

  addIds(nExpert: number, nExpertUsed: number): void {
    const width = idBytes(nExpert)
    const at = this.#source.take(nExpertUsed * width, 'a sweep')
    const begin = this.length
    for (let i = 0; i < nExpertUsed; i++) {
      const place = at + i * width
      const expert = width === 1 ? this.#source.bytes[place]! : this.#source.view.getUint16(place, true)
      if (expert >= nExpert) this.#source.refuse(place, `names expert ${expert} of ${nExpert}`)
      for (let before = begin; before < this.length; before++) {
        if (this.#ids[before] === expert) this.#source.refuse(place, `names expert ${expert} twice in one choice`)
      }
      this.#push(expert, place)
    }
  }

  addUnion(nExpert: number, least: number, most: number): void {
    const at = this.#source.take(unionBytes(nExpert), 'a sweep')
    const begin = this.length
    for (let expert = 0; expert < unionBytes(nExpert) * 8; expert++) {
      if ((this.#source.bytes[at + (expert >> 3)]! >> (expert & 7) & 1) === 0) continue
      if (expert >= nExpert) this.#source.refuse(at + (expert >> 3), `names expert ${expert} of ${nExpert}`)
      this.#push(expert, at)
    }
    const count = this.length - begin
    if (count < least || count > most) this.#source.refuse(at, `has a union of ${count} experts where ${least} to ${most} are possible`)
  }

  #push(expert: number, at: number): void {
    if (this.length === traceLimits.choices) this.#source.refuse(at, `has more than ${traceLimits.choices} choices`)
    if (this.length === this.#ids.length) {
      const larger = new Uint16Array(this.#ids.length * 2)
      larger.set(this.#ids)
      this.#ids = larger
    }
    this.#ids[this.length++] = expert
  }
}
