/**
 * What a MessagePack body would make, counted before it is decoded: a byte of a forged one can stand for an object of sixty, so 16 MiB of them
 * would take a gigabyte and end the process.
 *
 * Pure; allocates nothing.
 * @see the MessagePack specification, "Formats"
 */

/** A drive profile of 4,096 cells has 70,000, and each typed array is one. */
const valuesMax = 131_072
/** Typed arrays in msgpackr's structured-clone extension: the only one that state holds. */
const typedArray = 0x74

/** What makes it no body of ours; undefined for one that may be decoded: one value, all there, of plain types and typed arrays, not too many. */
export function stateBodyFault(body: Uint8Array): string | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const most = body.byteLength
  let at = 0
  let values = 0
  /** The number of `bytes` bytes at `at`; behind the end: what is never there. */
  const take = (bytes: number): number => {
    const begin = at
    at += bytes
    if (at > most) return Infinity
    return bytes === 1 ? view.getUint8(begin) : bytes === 2 ? view.getUint16(begin) : view.getUint32(begin)
  }
  const skip = (bytes: number): void => void (at += bytes)
  for (let left = 1; left > 0; left--) {
    if (at >= most) return 'its body ends in mid-value'
    if (++values > valuesMax) return `its body has more than ${valuesMax} values`
    const type = take(1)
    if (type < 0x80 || type >= 0xe0) continue // a small number
    else if (type < 0x90) left += 2 * (type & 0x0f)
    else if (type < 0xa0) left += type & 0x0f
    else if (type < 0xc0) skip(type & 0x1f)
    else if (type === 0xc1) return 'its body has a type that does not exist'
    else if (type < 0xc4) continue // nothing, false, true
    else if (type < 0xc7) skip(take(1 << (type - 0xc4))) // bytes
    else if (type < 0xca || (type >= 0xd4 && type < 0xd9)) {
      const bytes = type < 0xca ? take(1 << (type - 0xc7)) : 1 << (type - 0xd4)
      if (take(1) !== typedArray) return 'its body has an extension that state has not'
      skip(bytes)
    } else if (type < 0xcc) skip(4 << (type - 0xca)) // floats
    else if (type < 0xd0) skip(1 << (type - 0xcc)) // unsigned
    else if (type < 0xd4) skip(1 << (type - 0xd0)) // signed
    else if (type < 0xdc) skip(take(1 << (type - 0xd9))) // texts
    else if (type < 0xde) left += take(2 << (type - 0xdc)) // lists
    else left += 2 * take(2 << (type - 0xde)) // maps
  }
  if (at > most) return 'its body ends in mid-value'
  return at < most ? 'its body goes on behind its value' : undefined
}
