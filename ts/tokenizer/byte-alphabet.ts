/**
 * GPT-2's printable alphabet: byte-level BPE writes each byte as one visible character, so that token texts are legal
 * strings. 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the 68 others are U+0100 .. U+0143, ascending.
 * Example: a blank (0x20) is "Ġ" (U+0120), in the file 0xC4 0xA0.
 *
 * @see Radford et al. 2019; encoder.py of GPT-2, bytes_to_unicode
 */
const firstSubstitute = 0x100

/** Byte per code point 0 .. 0x143, -1 where the code point is not in the alphabet. */
const byteOfPoint: Int16Array = buildByteOfPoint()

/**
 * Decodes text[from, to) of a token (UTF-8) into the bytes it stands for.
 *
 * @param into receives the bytes at `at`; never more than to - from
 * @returns their number, or -1 when the text is not wholly in the alphabet
 */
export function decodeByteAlphabet(text: Uint8Array, from: number, to: number, into: Uint8Array, at: number): number {
  const start = at
  for (let i = from; i < to; i++) {
    const lead = text[i]!
    let point = lead
    if (lead >= 0x80) {
      if (lead < 0xc2 || lead > 0xc5 || i + 1 >= to) return -1
      const next = text[i + 1]!
      if ((next & 0xc0) !== 0x80) return -1
      point = ((lead & 0x1f) << 6) | (next & 0x3f)
      i++
    }
    const byte = byteOfPoint[point] ?? -1
    if (byte < 0) return -1
    into[at++] = byte
  }
  return at - start
}

function buildByteOfPoint(): Int16Array {
  const table = new Int16Array(firstSubstitute + 68).fill(-1)
  let substitute = firstSubstitute
  for (let byte = 0; byte < 256; byte++) {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    table[visible ? byte : substitute++] = byte
  }
  return table
}
