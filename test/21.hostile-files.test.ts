// What could break: a file somebody made, or half of one, takes the program down, keeps it busy, or is read as something else.
// How we notice: twelve kinds of them, each through the real program: exit code 3, a typed error that says where, in under a
// second, on every command that opens a model. Files that are well-formed but cannot be run are shown by inspect, with why.
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { modelPath, runCli } from './support/run-cli.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-hostile-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const whole = readFileSync(modelPath('fable-draft-q8_0.gguf'))

function headOf(bytes: number): Buffer {
  const file = openSync(modelPath('fable-draft-q8_0.gguf'), 'r')
  const head = Buffer.alloc(bytes)
  readSync(file, head, 0, bytes, 0)
  closeSync(file)
  return head
}

/** The shipped file with some bytes replaced. */
function patched(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(whole)
  change(bytes)
  return bytes
}

/** Where a metadata key's value begins: after its length, text and type. */
function valueOf(bytes: Buffer, key: string): number {
  const at = bytes.indexOf(key)
  if (at < 0) throw new Error(`the model has no key ${key}`)
  return at + key.length + 4
}

const nTensorsAt = 8
const nKeysAt = 16

const files: readonly [name: string, content: Buffer | 'folder', place: RegExp][] = [
  ['truncated', whole.subarray(0, whole.length - 100_000), /offset|field/],
  ['cut inside the header', headOf(1000), /offset/],
  ['wrong magic', patched((bytes) => bytes.write('FUGG')), /offset/],
  ['absurd tensor count', patched((bytes) => bytes.writeBigUInt64LE(2n ** 63n, nTensorsAt)), /offset/],
  ['absurd key count', patched((bytes) => bytes.writeBigUInt64LE(2n ** 64n - 1n, nKeysAt)), /offset/],
  ['size overflow', patched((bytes) => {
    const dims = bytes.indexOf('token_embd.weight') + 'token_embd.weight'.length + 4
    bytes.writeBigUInt64LE(2n ** 62n, dims)
  }), /offset|field/],
  ['offset past the end', patched((bytes) => {
    const at = bytes.indexOf('token_embd.weight') + 'token_embd.weight'.length
    const nDims = bytes.readUInt32LE(at)
    bytes.writeBigUInt64LE(2n ** 40n, at + 4 + nDims * 8 + 4)
  }), /offset|field/],
  ['type confusion', patched((bytes) => bytes.writeUInt32LE(6, valueOf(bytes, 'llama.block_count') - 4)), /field|offset/],
  ['unknown architecture', patched((bytes) => bytes.write('llamo', valueOf(bytes, 'general.architecture') + 8)), /field|llamo/],
  ['a folder', 'folder', /path/],
  ['an empty file', Buffer.alloc(0), /offset|path/],
  ['an LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 22669056\n'), /LFS/i],
]

/** Well-formed, so inspect shows them before it says what is wrong. */
const showable = new Set(['type confusion', 'unknown architecture'])

test.each(files)('%s', async (name, content, place) => {
  const path = join(folder, `${name.replaceAll(' ', '-')}.gguf`)
  if (content === 'folder') mkdirSync(path)
  else writeFileSync(path, content)
  for (const args of [['run', path, '-p', 'x'], ['inspect', path], ['plan', path]]) {
    const { code, stdout, stderr, ms } = await runCli(args)
    expect({ args: args[0], code }).toEqual({ args: args[0], code: 3 })
    if (args[0] === 'inspect' && showable.has(name)) expect(stdout).toMatch(/^runs +no: .*ERR_HYPURA_\w+/m)
    else expect(stdout).toBe('')
    expect(stderr).toMatch(/ERR_HYPURA_\w+/)
    expect(stderr).toMatch(place)
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(ms).toBeLessThan(3000) // a second on a machine that does nothing else
  }
})
