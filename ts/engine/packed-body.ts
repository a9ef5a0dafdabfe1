/**
 * A look at MessagePack before anybody decodes it: what it declares must be there.
 *
 * A decoder allocates an array as soon as its head names a length, so five bytes can ask for gigabytes. Here every length
 * is held against the bytes that follow, nesting has a limit, and of the extensions only typed arrays pass: the others make
 * errors, regular expressions, dates, references, and records that a decoder compiles to code.
 *
 * @see https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** Ours have four levels. */
const depthMax = 16
/** Typed arrays as msgpackr writes them: "t". */
const typedArray = 0x74

/** Why these bytes are not one whole value that is safe to decode; undefined when they are. */
export function packedFault(body: Uint8Array): string | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  /** Items still to come, by level. */
  const open = [1]
  let at = 0
  while (open.length > 0) {
    if (open.at(-1) === 0) {
      open.pop()
      continue
    }
    open[open.length - 1]!--
    const head = headAt(view, at)
    if (head === undefined) return `the value at byte ${at} is cut, or of a type that does not belong here`
    at += head.bytes
    if (at > body.length || head.items > body.length - at) return `the value before byte ${at} is longer than the body of ${body.length} bytes`
    if (head.items > 0) open.push(head.items)
    if (open.length > depthMax) return `values are nested deeper than ${depthMax} levels`
  }
  return at === body.length ? undefined : `${body.length - at} bytes follow the value`
}

interface Head {
  /** Of the value, without the values inside. */
  readonly bytes: number
  /** Values inside: keys count. */
  readonly items: number
}

function headAt(view: DataView, at: number): Head | undefined {
  const left = view.byteLength - at
  if (left < 1) return undefined
  const tag = view.getUint8(at)
  const plain = (bytes: number): Head => ({ bytes, items: 0 })
  /** `width` bytes of a length behind the tag. */
  const length = (width: 1 | 2 | 4): number | undefined =>
    left <= width ? undefined : width === 1 ? view.getUint8(at + 1) : width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1)
  const text = (width: 1 | 2 | 4): Head | undefined => {
    const found = length(width)
    return found === undefined ? undefined : plain(1 + width + found)
  }
  const items = (width: 2 | 4, each: number): Head | undefined => {
    const found = length(width)
    return found === undefined ? undefined : { bytes: 1 + width, items: found * each }
  }
  const extension = (width: 1 | 2 | 4): Head | undefined => {
    const found = length(width)
    return found === undefined || left < 2 + width || view.getUint8(at + 1 + width) !== typedArray ? undefined : plain(2 + width + found)
  }
  if (tag < 0x80 || tag >= 0xe0) return plain(1)
  if (tag < 0x90) return { bytes: 1, items: (tag - 0x80) * 2 }
  if (tag < 0xa0) return { bytes: 1, items: tag - 0x90 }
  if (tag < 0xc0) return plain(1 + tag - 0xa0)
  switch (tag) {
    case 0xc0: case 0xc2: case 0xc3: return plain(1) // nil, false, true
    case 0xc4: case 0xd9: return text(1)
    case 0xc5: case 0xda: return text(2)
    case 0xc6: case 0xdb: return text(4)
    case 0xc7: return extension(1)
    case 0xc8: return extension(2)
    case 0xc9: return extension(4)
    case 0xcc: case 0xd0: return plain(2)
    case 0xcd: case 0xd1: return plain(3)
    case 0xca: case 0xce: case 0xd2: return plain(5)
    case 0xcb: case 0xcf: case 0xd3: return plain(9)
    case 0xdc: return items(2, 1)
    case 0xdd: return items(4, 1)
    case 0xde: return items(2, 2)
    case 0xdf: return items(4, 2)
    default: return undefined // 0xc1 and the extensions of fixed size
  }
}
