/**
 * Writes a trace piece by piece (docs/formats/trace.md): what is held is one sweep, whatever the length of the run.
 *
 * Ends before traceLimits are reached: later sweeps are counted as skipped, and the file stays readable.
 */
import { crc32 } from 'node:zlib'
import { invariant } from '../base/errors.js'
import { endBytes, fixedHeaderBytes, idBytes, recordTags, traceFormat, traceLimits, traceMagic, unionBytes } from './format.js'
import { mixtureLayers, type TraceModel } from './trace.js'

export interface RoutedSweep {
  /** 1: the choices are in router order. More: they are the union. */
  readonly positions: number
  readonly computeMicroseconds: number
  /** [mixture layer] */
  readonly experts: readonly (readonly number[])[]
}

export interface TraceWriter {
  readonly sweeps: number
  readonly skippedSweeps: number
  add(sweep: RoutedSweep): void
  /** `count` sweeps are missing before the next one. */
  skip(count: number): void
  end(lostEvents: number): void
}

/** @param write takes each piece at once; the array is reused */
export function traceWriter(model: TraceModel, write: (bytes: Uint8Array) => void): TraceWriter {
  const layers = mixtureLayers(model)
  const { nExpert, nExpertUsed } = model
  const width = idBytes(nExpert)
  const record = new Uint8Array(16 + layers * Math.max(nExpertUsed * width, unionBytes(nExpert)))
  const view = new DataView(record.buffer)
  let crc = 0
  let written = 0
  let choices = 0
  let sweeps = 0
  let skipped = 0
  let gap = false
  let full = false
  const put = (bytes: Uint8Array): void => {
    crc = crc32(bytes, crc)
    written += bytes.length
    write(bytes)
  }
  const varint = (value: number, at: number): number => {
    let end = at
    for (let rest = value; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) {
        record[end++] = rest
        return end
      }
      record[end++] = (rest % 128) | 0x80
    }
  }
  put(headerOf(model))

  return {
    get sweeps() { return sweeps },
    get skippedSweeps() { return skipped },
    add({ positions, computeMicroseconds, experts }) {
      invariant(experts.length === layers, `a sweep of ${experts.length} mixture layers in a trace of ${layers}`)
      const count = experts.reduce((sum, { length }) => sum + length, 0)
      full ||= written + record.length + 1 + endBytes + 1 > traceLimits.fileBytes || choices + count > traceLimits.choices || sweeps === traceLimits.sweeps
      if (full) {
        skipped++
        return
      }
      if (gap) put(Uint8Array.of(recordTags.gap))
      gap = false
      record[0] = positions === 1 ? recordTags.position : recordTags.union
      let at = positions === 1 ? 1 : varint(positions, 1)
      at = varint(computeMicroseconds, at)
      for (const chosen of experts) {
        if (positions === 1) {
          invariant(chosen.length === nExpertUsed, `a choice of ${chosen.length} experts where ${nExpertUsed} are used`)
          for (const expert of chosen) {
            if (width === 1) record[at] = expert
            else view.setUint16(at, expert, true)
            at += width
          }
        } else {
          record.fill(0, at, at + unionBytes(nExpert))
          for (const expert of chosen) record[at + (expert >> 3)]! |= 1 << (expert & 7)
          at += unionBytes(nExpert)
        }
      }
      put(record.subarray(0, at))
      choices += count
      sweeps++
    },
    skip(count) {
      skipped += count
      gap ||= count > 0
    },
    end(lostEvents) {
      if (gap) put(Uint8Array.of(recordTags.gap))
      record[0] = recordTags.end
      const fields = new DataView(new ArrayBuffer(12))
      ;[sweeps, lostEvents, skipped].forEach((value, i) => fields.setUint32(i * 4, Math.min(value, 0xffff_ffff), true))
      put(record.subarray(0, 1))
      put(new Uint8Array(fields.buffer))
      fields.setUint32(0, crc, true)
      write(new Uint8Array(fields.buffer, 0, 4))
    },
  }
}

function headerOf(model: TraceModel): Uint8Array {
  const { nLayer, nLayerDenseLead, nExpert, nExpertUsed, expertBytes, besideBytes, sha256 } = model
  const layers = mixtureLayers(model)
  const texts = [model.architecture, model.name].map((text) => shortened(text))
  const bytes: number[] = new Array<number>(fixedHeaderBytes).fill(0)
  for (const text of texts) bytes.push(text.length & 0xff, text.length >> 8, ...text)
  for (let layer = 0; layer < layers; layer++) {
    const row = expertBytes.subarray(layer * nExpert, (layer + 1) * nExpert)
    const least = row.reduce((a, b) => Math.min(a, b), Infinity)
    bytes.push(...varintOf(least))
    for (const size of row) bytes.push(...varintOf(size - least))
  }
  const header = Uint8Array.from(bytes)
  const view = new DataView(header.buffer)
  view.setUint32(0, traceMagic, true)
  view.setUint32(4, traceFormat, true)
  view.setUint32(8, header.length, true)
  ;[nLayer, nLayerDenseLead, nExpert, nExpertUsed].forEach((value, i) => view.setUint16(12 + i * 2, value, true))
  view.setBigUint64(24, BigInt(besideBytes), true)
  for (let i = 0; i < 32; i++) header[32 + i] = Number.parseInt(sha256.slice(i * 2, i * 2 + 2), 16)
  return header
}

function varintOf(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return [...bytes, rest]
}

/** UTF-8, cut between characters where it is too long. */
function shortened(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  if (bytes.length <= traceLimits.textBytes) return bytes
  let end: number = traceLimits.textBytes
  while ((bytes[end]! & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
