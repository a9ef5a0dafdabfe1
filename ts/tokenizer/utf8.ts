/** UTF-8 of code point texts, and the blank's stand-in of SentencePiece. */
import type { CodeText } from './unicode-classes.js'

/** U+2581, which stands for a blank in the tokens of SentencePiece vocabularies. */
export const blankMark = '\u2581'

export function escapeBlanks(text: string): string {
  return text.replaceAll(' ', blankMark)
}

export function utf8Length({ points, length }: CodeText): number {
  let bytes = 0
  for (let i = 0; i < length; i++) {
    const point = points[i]!
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
  }
  return bytes
}

/** Writes code points [from, to) into `bytes` at `at`; returns the end. */
export function writeUtf8({ points }: CodeText, from: number, to: number, bytes: Uint8Array, at: number): number {
  for (let i = from; i < to; i++) {
    const point = points[i]!
    if (point < 0x80) {
      bytes[at++] = point
    } else if (point < 0x800) {
      bytes[at++] = 0xc0 | (point >> 6)
      bytes[at++] = 0x80 | (point & 0x3f)
    } else if (point < 0x10000) {
      bytes[at++] = 0xe0 | (point >> 12)
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
      bytes[at++] = 0x80 | (point & 0x3f)
    } else {
      bytes[at++] = 0xf0 | (point >> 18)
      bytes[at++] = 0x80 | ((point >> 12) & 0x3f)
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f)
      bytes[at++] = 0x80 | (point & 0x3f)
    }
  }
  return at
}

/** Bytes of the UTF-8 character that begins with `lead`. */
export function characterBytes(lead: number): number {
  if (lead < 0xc0) return 1
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
}
