// What could break: a header that lies about what follows makes the parser allocate, hang, or report nonsense.
// How we notice: each file must be refused with the rule of its class, in time, with nothing left open.
import { refuseAll } from '../support/malformed.js'

const sizeMax = 2n ** 64n - 1n
const text = (content: string) => (): Uint8Array => Buffer.from(content, 'latin1')
const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4920734272\n'

refuseAll('header', [
  { rule: 'H1', value: 'empty file', bytes: text(''), code: 'ERR_HYPURA_NOT_GGUF', says: 'empty' },
  { rule: 'H3', value: 'one byte of the magic', bytes: text('G'), reports: 'H2' },
  { rule: 'H3', value: 'magic only', bytes: text('GGUF'), reports: 'H2', says: 'cut short' },
  { rule: 'H4', value: 'FUGG', patch: (file) => { file.magic = 'FUGG' }, code: 'ERR_HYPURA_NOT_GGUF', says: 'reversed' },
  { rule: 'H4', value: 'GGML', patch: (file) => { file.magic = 'GGML' }, says: 'before GGUF' },
  { rule: 'H4', value: 'ggjt', patch: (file) => { file.magic = 'ggjt' }, says: 'before GGUF' },
  { rule: 'H4', value: 'ggjt as old writers stored it', patch: (file) => { file.magic = 'tjgg' }, says: 'before GGUF' },
  { rule: 'H4', value: 'zip', bytes: text('PK\x03\x04\x14\0\0\0\b\0archive/data.pkl'), says: 'zip' },
  { rule: 'H4', value: 'gzip', bytes: text('\x1f\x8b\b\0\0\0\0\0\0\x03'), says: 'gzip' },
  { rule: 'H4', value: 'HTML', bytes: text('\r\n<!DOCTYPE html><html><head><title>Sign in</title>'), says: 'HTML' },
  { rule: 'H4', value: 'safetensors', bytes: text('\x50\x01\0\0\0\0\0\0{"__metadata__":{"format":"pt"}'), says: 'safetensors' },
  { rule: 'H4', value: 'JSON', bytes: text('{"error":"Repository not found"}'), says: 'JSON' },
  { rule: 'H4', value: 'zeros', bytes: () => new Uint8Array(8192), says: 'zeros' },
  { rule: 'H4', value: 'something else', bytes: text('MZ\x90\0 a program'), says: '4d5a9000' },
  { rule: 'H5', value: 'git-lfs pointer', bytes: text(pointer), code: 'ERR_HYPURA_NOT_GGUF', says: 'git lfs pull' },
  ...[0, 1, 4, 0xffff_ffff].map((version) => ({
    rule: 'H6', value: `version ${version}`, code: 'ERR_HYPURA_UNSUPPORTED_MODEL' as const, patch: (file: { version: number }): void => { file.version = version },
  })),
  { rule: 'H6', value: 'version 3 in big-endian', patch: (file) => { file.version = 0x0300_0000 }, says: 'big-endian' },
  { rule: 'H7', value: '2^64 - 1', patch: (file) => { file.tensorCount = sizeMax } },
  { rule: 'H7', value: '2^63', patch: (file) => { file.tensorCount = 2n ** 63n } },
  { rule: 'H7', value: 'SIZE_MAX / 320 + 1', patch: (file) => { file.tensorCount = sizeMax / 320n + 1n } },
  { rule: 'H7', value: 'more than the file has bytes for', patch: (file) => { file.tensorCount = 100_000n } },
  { rule: 'H7', value: 'real + 1', patch: (file) => { file.tensorCount = BigInt(file.tensors.length + 1) }, reports: /^S|^H2/ },
  { rule: 'H8', value: '2^64 - 1', patch: (file) => { file.keyCount = sizeMax } },
  { rule: 'H8', value: '2^63', patch: (file) => { file.keyCount = 2n ** 63n } },
  { rule: 'H8', value: 'SIZE_MAX / 48 + 1', patch: (file) => { file.keyCount = sizeMax / 48n + 1n } },
  { rule: 'H8', value: 'more than the file has bytes for', patch: (file) => { file.keyCount = 60_000n } },
  { rule: 'H8', value: 'real + 1', patch: (file) => { file.keyCount = BigInt(file.keys.length + 1) }, reports: /^[SK]|^H2/ },
  { rule: 'H8', value: 'real - 1', patch: (file) => { file.keyCount = BigInt(file.keys.length - 1) }, reports: /^S|^H2/ },
])
