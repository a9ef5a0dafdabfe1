// What could break: a path that is no file hangs the parser or feeds it for ever, a part of a split model is taken from
// elsewhere, or a file that changes under us gives stale bytes. How we notice: typed errors in time, no open descriptor.
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, closeSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { HypuraError } from '../../ts/base/errors.js'
import { openGguf } from '../../ts/gguf/parse.js'
import { descriptorsOf, expectRefused, expectStillWorking, temporaryFolder } from '../support/malformed.js'
import { setKey, tinyFile, tinyGguf, encodeTiny, type TinyFile, type TinyKind } from '../support/tiny-gguf.js'

const root = temporaryFolder()
let folder = root

beforeEach(() => {
  folder = join(root, 'case')
  mkdirSync(folder)
})
afterEach(async () => {
  await expectStillWorking(folder)
  rmSync(folder, { recursive: true, force: true })
})

describe('F1 not a file', () => {
  test('directory', async () => {
    await expectRefused(folder, { rule: 'F1', code: 'ERR_HYPURA_NOT_GGUF', says: 'directory' })
  })
  test('FIFO without a writer', async () => {
    execFileSync('mkfifo', [join(folder, 'fifo')])
    await expectRefused(join(folder, 'fifo'), { rule: 'F1', code: 'ERR_HYPURA_NOT_GGUF', says: 'FIFO' })
  })
  test('socket', async () => {
    const path = join(folder, 'socket')
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(path, resolve))
    try {
      await expectRefused(path, { rule: 'F1', code: 'ERR_HYPURA_NOT_GGUF', says: 'socket' })
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })
  test('/dev/zero', async () => {
    await expectRefused('/dev/zero', { rule: 'F1', code: 'ERR_HYPURA_NOT_GGUF', says: 'device' })
  })
  test('link loop', async () => {
    symlinkSync(join(folder, 'b'), join(folder, 'a'))
    symlinkSync(join(folder, 'a'), join(folder, 'b'))
    await expectRefused(join(folder, 'a'), { rule: 'F1', code: 'ERR_HYPURA_IO', says: 'ELOOP' })
  })
  test('no such file', async () => {
    await expectRefused(join(folder, 'none.gguf'), { rule: 'F1', code: 'ERR_HYPURA_NOT_FOUND' })
  })
  test('a NUL in the path', async () => {
    await expectRefused(join(folder, 'a\0b.gguf'), { rule: 'F1', code: 'ERR_HYPURA_NOT_FOUND' })
  })
  test('no permission', async ({ skip }) => {
    if (process.getuid?.() === 0) skip('root may read every file')
    const path = join(folder, 'secret.gguf')
    writeFileSync(path, tinyGguf())
    chmodSync(path, 0)
    await expectRefused(path, { rule: 'F1', code: 'ERR_HYPURA_IO', says: 'EACCES' })
  })
  test('16 TB of nothing', async ({ skip }) => {
    const path = join(folder, 'sparse.gguf')
    if (!sparse(path, new Uint8Array(0))) skip('this file system has no files of 16 TB')
    await expectRefused(path, { rule: 'F1', reports: 'H4', says: 'zeros' })
  })
  test('16 TB behind a valid header is legal', async ({ skip }) => {
    const path = join(folder, 'sparse.gguf')
    if (!sparse(path, tinyGguf())) skip('this file system has no files of 16 TB')
    expect((await openGguf(path)).files[0]!.sizeBytes).toBe(sparseBytes)
  })
})

describe('F2 split files', () => {
  const name = (no: number, count = 3): string => join(folder, `tiny-${digits(no + 1)}-of-${digits(count)}.gguf`)

  test('all parts, whichever is given', async () => {
    writeParts()
    const whole = await openWhole()
    for (const no of [0, 1, 2]) {
      const model = await openGguf(name(no))
      expect([...model.tensors.keys()]).toEqual([...whole.tensors.keys()])
      expect(model.files.map((file) => file.path)).toEqual([name(0), name(1), name(2)])
      expect(model.metadata.integer('llama.block_count')).toBe(2)
      expect(model.tensorBytes).toBe(whole.tensorBytes)
      for (const tensor of model.tensors.keys()) expect(await model.readTensor(tensor)).toEqual(await whole.readTensor(tensor))
    }
  })
  test('part missing: the error names the file', async () => {
    writeParts()
    rmSync(name(1))
    const error = await expectRefused(name(0), { rule: 'F2', code: 'ERR_HYPURA_SHARD_MISSING', says: 'tiny-00002-of-00003.gguf' })
    expect(error.details['path']).toBe(name(1))
  })
  test('first part missing', async () => {
    writeParts()
    rmSync(name(0))
    await expectRefused(name(2), { rule: 'F2', code: 'ERR_HYPURA_SHARD_MISSING', says: 'tiny-00001-of-00003.gguf' })
  })
  test('part truncated', async () => {
    writeParts()
    truncateSync(name(1), statSync(name(1)).size - 1)
    await expectRefused(name(0), { rule: 'S11', says: 'tiny-00002-of-00003.gguf' })
  })
  test.each([0, 1025, 65_535])('count %i', async (count) => {
    writeParts((file) => setKey(file, 'split.count', { type: 'u16', value: count }))
    await expectRefused(name(0), { rule: 'F2' })
  })
  test.each([3, 65_535])('number %i of 3', async (no) => {
    writeParts((file) => setKey(file, 'split.no', { type: 'u16', value: no }))
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('number missing', async () => {
    writeParts((file) => { file.keys = file.keys.filter(({ key }) => key !== 'split.no') })
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('sum of tensors missing', async () => {
    writeParts((file) => { file.keys = file.keys.filter(({ key }) => key !== 'split.tensors.count') })
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('same number twice', async () => {
    writeParts((file, no) => { if (no === 2) setKey(file, 'split.no', { type: 'u16', value: 1 }) })
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('same part twice', async () => {
    writeParts()
    execFileSync('cp', [name(1), name(2)])
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('parts of two models: other sum of tensors', async () => {
    writeParts((file, no) => { if (no === 1) setKey(file, 'split.tensors.count', { type: 'i32', value: 400 }) })
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('parts of two models: same tensors again', async () => {
    writeParts((file, no) => { if (no === 1) file.tensors[0]!.name = 'token_embd.weight' })
    await expectRefused(name(0), { rule: 'F2', says: 'two parts' })
  })
  test('parts of two models: other family', async () => {
    writeParts((file, no) => { if (no === 1) setKey(file, 'general.architecture', { type: 'string', value: 'qwen3' }) })
    await expectRefused(name(0), { rule: 'F2', says: 'qwen3' })
  })
  test('declared sum differs from what is there', async () => {
    writeParts((file) => setKey(file, 'split.tensors.count', { type: 'i32', value: 22 }))
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('negative sum', async () => {
    writeParts((file) => setKey(file, 'split.tensors.count', { type: 'i32', value: -1 }))
    await expectRefused(name(0), { rule: 'F2' })
  })
  test('renamed part', async () => {
    writeParts()
    renameSync(name(0), join(folder, 'model.gguf'))
    await expectRefused(join(folder, 'model.gguf'), { rule: 'F2', says: '-00001-of-00003.gguf' })
  })
  test('parts come from the folder of the given one only', async () => {
    writeParts()
    mkdirSync(join(folder, 'other'))
    renameSync(name(0), join(folder, 'other', 'tiny-00001-of-00003.gguf'))
    await expectRefused(join(folder, 'other', 'tiny-00001-of-00003.gguf'), { rule: 'F2', code: 'ERR_HYPURA_SHARD_MISSING' })
  })
  test('a part is a directory', async () => {
    writeParts()
    rmSync(name(2))
    mkdirSync(name(2))
    await expectRefused(name(0), { rule: 'F1' })
  })
  test('a model in one file is not looked for in parts', async () => {
    writeFileSync(name(0, 2), tinyGguf())
    expect((await openGguf(name(0, 2))).files.length).toBe(1)
  })
  test('A11 300 parts', async () => {
    writeParts(undefined, 300)
    const model = await openGguf(name(41, 300))
    expect([model.files.length, model.tensors.size]).toEqual([300, 300])
  })

  /** Writes a tiny model as parts; `patch` is called for each. */
  function writeParts(patch?: (file: TinyFile, no: number) => void, count = 3): void {
    const tensors = partTensors(count)
    const share = tensors.length / count
    for (let no = 0; no < count; no++) {
      const file = tinyFile()
      file.tensors = tensors.slice(no * share, (no + 1) * share)
      if (no > 0) file.keys = []
      setKey(file, 'split.no', { type: 'u16', value: no })
      setKey(file, 'split.count', { type: 'u16', value: count })
      setKey(file, 'split.tensors.count', { type: 'i32', value: tensors.length })
      patch?.(file, no)
      writeFileSync(name(no, count), encodeTiny(file))
    }
  }
})

describe('F4 change under us', () => {
  const changes: readonly (readonly [string, (path: string) => void])[] = [
    ['shortened', (path): void => truncateSync(path, 5000)],
    ['longer', (path): void => appendFileSync(path, 'more')],
    ['replaced', (path): void => { writeFileSync(`${path}.new`, tinyGguf()); renameSync(`${path}.new`, path) }],
    ['overwritten', (path): void => { execFileSync('touch', ['-d', '2001-01-01', path]) }],
  ]
  test.each(changes)('%s', async (_, change) => {
    const path = join(folder, 'model.gguf')
    writeFileSync(path, tinyGguf())
    const model = await openGguf(path)
    expect((await model.readTensor('output_norm.weight')).length).toBe(128)
    change(path)
    const error = await model.readTensor('output_norm.weight').then(() => undefined, (reason: HypuraError) => reason)
    expect(error?.code).toBe('ERR_HYPURA_MODEL_CHANGED')
    expect(descriptorsOf(path)).toEqual([])
  })
})

/** The largest file of ext4 with blocks of 4 KiB, less one block. */
const sparseBytes = 2 ** 44 - 8192

function sparse(path: string, head: Uint8Array): boolean {
  writeFileSync(path, head)
  const fd = openSync(path, 'r+')
  try {
    ftruncateSync(fd, sparseBytes)
    return true
  } catch {
    return false
  } finally {
    closeSync(fd)
  }
}

function digits(value: number): string {
  return String(value).padStart(5, '0')
}

async function openWhole(kind: TinyKind = 'dense'): ReturnType<typeof openGguf> {
  const path = join(folder, 'whole.gguf')
  writeFileSync(path, tinyGguf(undefined, kind))
  return openGguf(path)
}

/** The tiny model's 21 tensors, or copies of a small one under other names when more are wanted. */
function partTensors(count: number): TinyFile['tensors'] {
  const own = tinyFile().tensors
  if (own.length % count === 0) return own
  return Array.from({ length: count }, (_, i) => ({ ...own.at(-1)!, name: `extra.${i}.weight` }))
}
