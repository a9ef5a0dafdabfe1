/**
 * What a file is when it is not GGUF: the commonest mistakes get a sentence of their own.
 */
import type { HypuraError } from '../base/errors.js'
import { cutShort, refuse } from './failure.js'

interface Format {
  readonly rule: 'H4' | 'H5'
  readonly matches: (head: string) => boolean
  readonly sentence: string
  readonly advice: string
}

const begins = (...magics: readonly string[]) => (head: string): boolean => magics.some((magic) => head.startsWith(magic))

/** `head` is the beginning of the file in latin1; the first match wins. */
const formats: readonly Format[] = [
  {
    rule: 'H5', matches: begins('version https://git-lfs'),
    sentence: 'this is a git-lfs pointer of three lines, not the model itself.',
    advice: 'Run "git lfs pull" in its folder, or download the file from its page.',
  },
  {
    rule: 'H4', matches: (head) => /^(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml)/i.test(head),
    sentence: 'this is an HTML page, not a model: the download saved a web page, perhaps one that asks to log in.',
    advice: 'Download the file itself ("resolve" instead of "blob" in the address), with a token if the model is gated.',
  },
  {
    rule: 'H4', matches: begins('GGML', 'lmgg', 'ggml', 'ggjt', 'tjgg', 'ggmf', 'fmgg', 'ggla', 'algg'),
    sentence: 'this is one of the formats from before GGUF.',
    advice: 'Get the model as GGUF, or convert the original weights again with a current llama.cpp.',
  },
  {
    rule: 'H4', matches: begins('FUGG'),
    sentence: 'the magic number is reversed: this GGUF file was written byte by byte in the wrong order.',
    advice: 'Get a little-endian GGUF of this model.',
  },
  {
    rule: 'H4', matches: (head) => head.length > 8 && head[8] === '{' && head.startsWith('\0\0', 6),
    sentence: 'this is a safetensors file.',
    advice: 'Get the model as GGUF, or convert it with convert_hf_to_gguf.py of llama.cpp.',
  },
  {
    rule: 'H4', matches: begins('PK\x03\x04'),
    sentence: 'this is a zip archive, perhaps a PyTorch checkpoint.',
    advice: 'Unpack it, or get the model as GGUF.',
  },
  {
    rule: 'H4', matches: begins('\x1f\x8b'),
    sentence: 'this is a gzip archive.',
    advice: 'Unpack it with gunzip.',
  },
  {
    rule: 'H4', matches: (head) => /^\s*[{[]/.test(head),
    sentence: 'this is JSON text, perhaps the error message of a download.',
    advice: 'Look into the file, then download the model again.',
  },
  {
    rule: 'H4', matches: (head) => /^\0+$/.test(head),
    sentence: 'the file begins with zeros: its space was reserved, but the data never arrived.',
    advice: 'Finish or repeat the download.',
  },
]

/**
 * The error for a file that does not begin with "GGUF".
 * @param head up to 64 bytes from the beginning
 */
export function notGguf(path: string, sizeBytes: number, head: Uint8Array): HypuraError {
  if (sizeBytes === 0) {
    return refuse('ERR_HYPURA_NOT_GGUF', { path, rule: 'H1', field: 'file', offset: 0, found: 0, allowed: 'GGUF' }, 'the file is empty.', 'Download it again.')
  }
  const text = Buffer.from(head).toString('latin1')
  if ('GGUF'.startsWith(text)) return cutShort({ path, rule: 'H2', field: 'magic', offset: 0, found: sizeBytes }, sizeBytes, 24)
  const found = Buffer.from(head.subarray(0, 4)).toString('hex')
  const format = formats.find((candidate) => candidate.matches(text))
  return refuse(
    'ERR_HYPURA_NOT_GGUF',
    { path, rule: format?.rule ?? 'H4', field: 'magic', offset: 0, found, allowed: '47475546 (GGUF)' },
    format?.sentence ?? `this is not a GGUF file: it begins with the bytes ${found}, not with "GGUF".`,
    format?.advice ?? 'Give the path of a .gguf file.',
  )
}
