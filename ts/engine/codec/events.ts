/** Decodes event records (docs/formats/events.md) into plain values. Kinds that are not known here are skipped. */
import { eventKind, guessMode, guessSource, layout } from '../../native/layout.gen.js'
import type { EngineEvent, StallCause } from '../../prefetch/events.js'
import type { GuessMode } from '../../prefetch/plan.js'

const { fields, size: eventBytes } = layout.Event
const noLayer = 0xffff
/** In the order of their numbers on the wire. */
const stallCauses: readonly StallCause[] = ['ring', 'expert', 'row', 'pin']

const guessModes: ReadonlyMap<number, GuessMode> = new Map(Object.entries(guessMode).map(([name, number]) => [number, name as GuessMode]))

/** 32-bit words of one record: how large a buffer for drainEvents must be. */
export const eventWords: number = eventBytes / 4

/** @param words as drainEvents filled it; @param count records in it */
export function decodeEvents(words: Uint32Array, count: number): EngineEvent[] {
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength)
  const events: EngineEvent[] = []
  for (let i = 0; i < Math.min(count, Math.floor(words.byteLength / eventBytes)); i++) {
    const event = decodeEvent(view, i * eventBytes)
    if (event !== undefined) events.push(event)
  }
  return events
}

function decodeEvent(view: DataView, at: number): EngineEvent | undefined {
  const layer = view.getUint16(at + fields.layer.offset, true)
  const head = {
    timeNs: Number(view.getBigUint64(at + fields.timeNs.offset, true)),
    sweep: view.getUint32(at + fields.sweep.offset, true),
    layer: layer === noLayer ? undefined : layer,
  }
  const data = at + fields.data.offset
  const word = (index: number): number => view.getUint32(data + index * 4, true)
  const experts = (): number[] => {
    const length = Math.min(8, view.getUint8(at + fields.count.offset))
    return Array.from({ length }, (_, i) => view.getUint16(data + i * 2, true))
  }
  switch (view.getUint8(at + fields.kind.offset)) {
    case eventKind.route:
      return { ...head, kind: 'route', experts: experts() }
    case eventKind.absent:
      return { ...head, kind: 'absent', experts: experts() }
    case eventKind.sweep:
      return { ...head, kind: 'sweep', sequence: word(0), client: word(1), firstPosition: word(2), positions: word(3) }
    case eventKind.read:
      return { ...head, kind: 'read', block: word(0), bytes: word(1), microseconds: word(2), retries: word(3) }
    case eventKind.stall:
      return {
        ...head, kind: 'stall', block: word(0), microseconds: word(1), bytesMissing: word(2),
        cause: stallCauses[word(3)] ?? 'ring',
      }
    case eventKind.evict:
      return {
        ...head, kind: 'evict', block: word(0), replacedBy: word(1),
        priority: view.getFloat32(data + 8, true), ageSweeps: word(3),
      }
    case eventKind.token:
      return {
        ...head, kind: 'token', token: word(0), positions: word(1),
        computeMicroseconds: word(2), stallMicroseconds: word(3),
      }
    case eventKind.fault:
      return {
        ...head, kind: 'fault', errno: view.getInt32(data, true), file: word(1),
        offset: word(2) + word(3) * 2 ** 32,
      }
    case eventKind.guess:
      return {
        ...head, kind: 'guess', mode: guessModes.get(view.getUint8(at + fields.count.offset)) ?? 'off',
        guessed: word(0) >>> 16, correct: word(0) & 0xffff, asked: word(1) >>> 16, absent: word(1) & 0xffff, correctAbsent: word(2),
        origin: word(3) === guessSource.table ? 'table' : 'router',
      }
    default:
      return undefined
  }
}
