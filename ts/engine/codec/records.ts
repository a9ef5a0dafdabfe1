/**
 * Writes and sizes the records of the border by name, from the offsets that the native side printed: none is typed twice.
 */
import { layout } from '../../native/layout.gen.js'

type Records = typeof layout
export type RecordName = keyof Records
/** Every field of a record, so that none can be forgotten; `reserved` is written as 0. */
export type RecordValues<R extends RecordName> = {
  readonly [F in Exclude<keyof Records[R]['fields'], 'reserved'>]: number | bigint
}

export const recordBytes = (name: RecordName): number => layout[name].size

interface Field {
  readonly offset: number
  readonly type: string
}

type Put = (view: DataView, at: number, value: number | bigint) => void

const put: Readonly<Record<string, Put>> = {
  u8: (view, at, value) => view.setUint8(at, Number(value)),
  u16: (view, at, value) => view.setUint16(at, Number(value), true),
  u32: (view, at, value) => view.setUint32(at, Number(value), true),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  i64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  f32: (view, at, value) => view.setFloat32(at, Number(value), true),
  f64: (view, at, value) => view.setFloat64(at, Number(value), true),
}

/** Writes one record at byte `at`, little-endian. */
export function writeRecord<R extends RecordName>(view: DataView, at: number, name: R, values: RecordValues<R>): void {
  const fields = layout[name].fields as Readonly<Record<string, Field>>
  const given = values as Readonly<Record<string, number | bigint>>
  for (const key in fields) {
    const { offset, type } = fields[key]!
    put[type]!(view, at + offset, given[key] ?? 0)
  }
}

/** Lays sections one after the other, each on a multiple of 8 bytes. */
export class SectionPlan {
  #end = 0

  /** Where a section of `bytes` bytes begins. */
  place(bytes: number): number {
    const begin = this.#end
    this.#end = Math.ceil((begin + bytes) / 8) * 8
    return begin
  }

  get bytes(): number {
    return this.#end
  }
}
