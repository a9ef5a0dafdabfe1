// What could break: inspect fails on files that can be described but not run, a hostile file drives the terminal, JSON that no
// parser takes, a doctor that leaves blanks.
// How we notice: every vocabulary file at hand and a file full of control characters go through every section.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { tmpdir } from 'node:os'
import { afterAll, describe, expect, test } from 'vitest'
import { modelPath, runCli } from './support/run-cli.js'
import { sharedFiles } from './support/shared-files.js'
import { setKey, tinyGguf } from './support/tiny-gguf.js'

const folder = mkdtempSync(join(tmpdir(), 'hypura-inspect-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const sections = ['summary', 'metadata', 'tensors', 'map', 'template']
const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/

describe('files without tensors', () => {
  const files = sharedFiles('vocab', '.gguf')
  test.skipIf(files.length === 0)('are shown, and why they do not run', async () => {
    for (const path of files) {
      const { code, stdout, stderr } = await runCli(['inspect', path])
      expect({ path, code }).toEqual({ path, code: 3 })
      expect(stderr).toMatch(/^error: .+\n +ERR_HYPURA_\w+/)
      expect(stdout).toMatch(/^architecture +\w+$/m)
      expect(stdout).toMatch(/^runs +no: .+ \(ERR_HYPURA_\w+\)$/m)
      expect(stdout).toMatch(/^tokenizer\.ggml\.tokens +string\[\d+\] +\[".* …$/m)
      expect(stdout.length, `${basename(path)} is abbreviated`).toBeLessThan(8_000)
      expect(stdout).not.toMatch(controls)
    }
  }, 60_000)
})

describe('JSON', () => {
  test.each(sections)('%s parses, for a model that runs and one that does not', async (section) => {
    const unknown = join(folder, 'unknown.gguf')
    writeFileSync(unknown, tinyGguf((file) => setKey(file, 'general.architecture', { type: 'string', value: 'nobody' })))
    for (const path of [modelPath('fable-moe-q8_0.gguf'), unknown]) {
      const { code, stdout } = await runCli(['inspect', path, section, '-o', 'json'])
      expect(code).toBe(path === unknown ? 3 : 0)
      const value = JSON.parse(stdout) as Record<string, unknown>
      if (section === 'summary') expect(value).toMatchObject({ schema: 1, runs: path !== unknown, obstacle: path === unknown ? { code: 'ERR_HYPURA_UNSUPPORTED_ARCH' } : null })
    }
  })
})

test('control characters of a file never reach the terminal', async () => {
  const evil = '\x1b]0;owned\x07\x1b[2J\u009b31m\r\n\x00runs              yes'
  const path = join(folder, 'evil.gguf')
  writeFileSync(path, tinyGguf((file) => {
    setKey(file, 'general.name', { type: 'string', value: evil })
    setKey(file, 'tokenizer.chat_template', { type: 'string', value: `{# ${evil} #}{{ messages[0].content }}` })
    setKey(file, 'general.tags', { type: 'array', of: 'string', values: [evil, evil] })
    setKey(file, 'tokenizer.ggml.pre', { type: 'string', value: evil })
  }))
  for (const section of sections) {
    for (const format of ['human', 'json']) {
      const { code, stdout, stderr } = await runCli(['inspect', path, section, '-o', format])
      expect({ section, code }).toEqual({ section, code: 3 })
      expect(stdout + stderr).not.toMatch(controls)
      if (section === 'metadata') expect(stdout).not.toMatch(/^runs/m) // nor can a value look like a line of ours
    }
  }
  const { stderr } = await runCli(['run', path, '-p', 'x'])
  expect(stderr).not.toMatch(controls)
})

describe('doctor', () => {
  test('has no blanks, says what auto takes, and asks the file system of a model or a folder of them', async () => {
    const model = modelPath('fable-draft-q8_0.gguf')
    for (const path of [model, join(model, '..')]) {
      const { code, stdout } = await runCli(['doctor', path])
      expect(code).toBe(0)
      expect(stdout).not.toMatch(/ +$|undefined|NaN/m)
      expect(stdout).toMatch(/^ {2}(?:yes|no ) {2}uring +\S+/m)
      expect(stdout).toMatch(/^ {2}--io auto takes (?:uring|pread|buffered)$/m)
      expect(stdout).toMatch(/^direct reads {2}(?:yes, aligned to \d+ bytes|no, .+: .+) \(.*\.gguf\)$/m)
    }
    expect((await runCli(['doctor'])).stdout).toMatch(/^direct reads {2}not asked/m)
  })

  test('a path that is not there, and a folder without files, are errors', async () => {
    expect(await runCli(['doctor', join(folder, 'nowhere')])).toMatchObject({ code: 3, stdout: '' })
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    expect(await runCli(['doctor', empty])).toMatchObject({ code: 2, stdout: '' })
  })
})
