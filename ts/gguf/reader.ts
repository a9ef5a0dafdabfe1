/**
 * The one way the parser reads: integers in file order, each checked against the bytes that remain.
 *
 * Why a window: headers are a few kilobytes or tens of megabytes, and long values are skipped without being read. The
 * window starts at 1 MiB and doubles to 8 MiB while the header goes on.
 * Use: `about()` names the field for errors, `load(n)` makes n bytes available, then the readers run without waiting.
 * Holds always: no byte outside the file is touched; a u64 becomes a number only after it was checked.
 */
import { HypuraError, invariant } from '../base/errors.js'
import { corrupt, cutShort, number, quote, type Fault } from './failure.js'
import type { FileSource } from './file-source.js'

const windowBytesMin = 1 << 20
const windowBytesMax = 8 << 20
/** The clock is looked at once per so many items: a look costs as much as reading an item. */
const itemsPerTick = 4_096

export class HeaderReader {
  readonly #source: FileSource
  readonly #deadline: Deadline
  #window: Buffer = Buffer.alloc(0)
  #view: DataView = new DataView(new ArrayBuffer(0))
  #base = 0
  #at = 0
  #end = 0
  #chunkBytes: number = windowBytesMin
  #items = 0
  #rule = 'H2'
  #field = 'header'
  #which: number | string | undefined

  constructor(source: FileSource, deadline: Deadline) {
    this.#source = source
    this.#deadline = deadline
  }

  get position(): number {
    return this.#base + this.#at
  }

  get remaining(): number {
    return this.#source.sizeBytes - this.position
  }

  /**
   * Names what is read next, for errors: a field, and which of several by number or by name (quoted when needed).
   * Counts items: long tables meet the time limit here.
   */
  about(rule: string, field: string, which?: number | string): void {
    this.#rule = rule
    this.#field = field
    this.#which = which
    if (++this.#items % itemsPerTick === 0) this.#deadline.check(this.fault())
  }

  /** True when `bytes` more bytes can be read without waiting. */
  loaded(bytes: number): boolean {
    return this.#end - this.#at >= bytes
  }

  /** Makes `bytes` more bytes, or all that remain, readable without waiting. At most 1 MiB. */
  async load(bytes: number): Promise<void> {
    invariant(bytes <= windowBytesMin, 'a field longer than the window is skipped, not loaded')
    if (this.loaded(Math.min(bytes, this.remaining))) return
    this.#deadline.check(this.fault())
    const kept = this.#end - this.#at
    const length = Math.min(this.#chunkBytes, this.remaining)
    const next = Buffer.allocUnsafeSlow(length)
    next.set(this.#window.subarray(this.#at, this.#end))
    const begin = this.position
    await this.#source.read(next.subarray(kept), begin + kept)
    this.#window = next
    this.#view = new DataView(next.buffer, next.byteOffset, length)
    this.#base = begin
    this.#at = 0
    this.#end = length
    this.#chunkBytes = Math.min(2 * this.#chunkBytes, windowBytesMax)
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  /** A u64 that must be at most `limit` (below 2^53). */
  count(limit: number): number {
    const at = this.#take(8)
    const value = this.#view.getUint32(at + 4, true) * 0x1_0000_0000 + this.#view.getUint32(at, true)
    if (value > limit) throw this.tooLarge(this.#view.getBigUint64(at, true), limit, this.position - 8)
    return value
  }

  /**
   * A name of `bytes` bytes: valid UTF-8 without NUL.
   * @throws the rule given to about(), when it is neither
   */
  name(bytes: number): string {
    const at = this.#take(bytes)
    let ascii = true
    for (let i = at; i < at + bytes; i++) {
      const byte = this.#window[i]!
      if (byte === 0) throw this.fail('a name contains a NUL byte.', { offset: this.#base + i, found: 0, allowed: 'UTF-8 without NUL' })
      if (byte >= 0x80) ascii = false
    }
    if (ascii) return this.#window.toString('latin1', at, at + bytes)
    try {
      return strictUtf8.decode(this.#window.subarray(at, at + bytes))
    } catch {
      throw this.fail('a name is not valid UTF-8.', { offset: this.#base + at, allowed: 'UTF-8 without NUL' })
    }
  }

  /** Passes over `bytes` bytes without reading them. */
  skip(bytes: number): void {
    if (bytes > this.remaining) throw this.tooShort(bytes)
    if (this.loaded(bytes)) {
      this.#at += bytes
    } else {
      this.#base = this.position + bytes
      this.#at = 0
      this.#end = 0
    }
  }

  /** The error of a field that needs `bytes` more than the file has. */
  tooShort(bytes: number): HypuraError {
    const needs = BigInt(this.position) + BigInt(bytes)
    return cutShort(this.fault({ offset: this.position, found: bytes, allowed: `0 to ${this.remaining}` }), this.#source.sizeBytes, needs)
  }

  tooLarge(found: number | bigint, limit: number, offset: number): HypuraError {
    const fault = this.fault({ offset, found, allowed: `0 to ${limit}` })
    return corrupt(fault, `${fault.field} is ${number(found)}, more than the limit of ${number(limit)}.`)
  }

  /** An error about the current field; the offset is the reader's position unless given. */
  fail(sentence: string, more: Partial<Fault> = {}): HypuraError {
    return corrupt(this.fault({ offset: this.position, ...more }), sentence)
  }

  /** Facts of an error about the current field. */
  fault(more: Partial<Fault> = {}): Fault {
    const which = typeof this.#which === 'string' ? quote(this.#which) : this.#which
    const field = which === undefined ? this.#field : `${this.#field} ${which}`
    return { path: this.#source.path, rule: this.#rule, field, ...more }
  }

  #take(bytes: number): number {
    if (this.#end - this.#at < bytes) {
      invariant(this.remaining < bytes, 'a field was read before it was loaded')
      // A field cut by the end of the file is truncation, whatever the field is about.
      throw cutShort(this.fault({ rule: 'H2', offset: this.position }), this.#source.sizeBytes, this.position + bytes)
    }
    const at = this.#at
    this.#at += bytes
    return at
  }
}

/** The end of the time that one model's headers may take. The clock is an argument, so that tests can turn it. */
export class Deadline {
  readonly #now: () => number
  readonly #begin: number
  readonly #limitMs: number

  constructor(limitMs: number, now: () => number = () => performance.now()) {
    this.#now = now
    this.#begin = now()
    this.#limitMs = limitMs
  }

  check(fault: Fault): void {
    const ms = this.#now() - this.#begin
    if (ms <= this.#limitMs) return
    throw corrupt(
      { ...fault, rule: 'K11', found: Math.round(ms), allowed: `${this.#limitMs} ms` },
      `the header was not read to its end after ${number(Math.round(ms))} ms, the limit is ${number(this.#limitMs)} ms.`,
      'Check the drive (hypura doctor); if the drive is fast, the file is made to be slow.',
    )
  }
}

/** a * b, or undefined when it exceeds `limit` (below 2^53). Both are integers >= 0. */
export function mul(a: number, b: number, limit: number): number | undefined {
  const product = a * b
  return product <= limit ? product : undefined
}

/** a + b, or undefined when it exceeds `limit` (below 2^53). Both are integers >= 0. */
export function add(a: number, b: number, limit: number): number | undefined {
  const sum = a + b
  return sum <= limit ? sum : undefined
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
