// What could break: the README promises a command, a flag, an exit code or a library that is not there.
// How we notice: its examples are taken out of the file and executed, its tables are compared with the registries.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, describe, expect, test } from 'vitest'
import { checkoutRoot } from '../scripts/tidy.js'
import { commands } from '../src/commands/index.js'
import { exitCodes } from '../src/exit-codes.js'
import { runCli } from './support/run-cli.js'

const readme = readFileSync(join(checkoutRoot, 'README.md'), 'utf8')
const folder = mkdtempSync(join(tmpdir(), 'hypura-readme-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The first block of this language. */
function block(language: string): string {
  const found = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(readme)
  if (found === null) throw new Error(`the README has no block of ${language}`)
  return found[1]!
}

/** Words as a shell splits them: "several words" are one. */
const words = (line: string): string[] => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)

const root = new Command('hypura')
for (const add of commands) add(root)

test('the first command runs as it stands, streams, and says so in the form that is shown', async () => {
  const line = /npx hypura (.*)/.exec(block('sh'))?.[1]
  const { code, stdout, stderr } = await runCli(words(line!), { cwd: checkoutRoot })
  expect(code, stderr).toBe(0)
  expect(stdout.split(/\s+/).length).toBeGreaterThan(20)
  expect(stderr).toMatch(/^mode: stream · /)
  const [, shown] = /print[^]*?```\n([^]*?)```/.exec(readme) ?? []
  const shape = (text: string): string => text.replace(/[\d.]+/g, '0')
  const parts = (text: string | undefined): string[] => shape(text ?? '').split(' · ').map((part) => part.split(' ')[0]!)
  const [mode, footer] = [/^mode:.*$/m, /^\[\d+ tok.*$/m]
  for (const form of [mode, footer]) expect(parts(form.exec(stderr)?.[0])).toHaveLength(parts(form.exec(shown ?? '')?.[0]).length)
})

test('the library example compiles against our types and prints a story', { timeout: 60_000 }, () => {
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(checkoutRoot, join(folder, 'node_modules/hypura'))
  symlinkSync(join(checkoutRoot, 'node_modules/@types'), join(folder, 'node_modules/@types'))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(join(folder, 'example.ts'), block('ts'))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { module: 'nodenext', target: 'es2022', lib: ['es2024', 'esnext.disposable'], strict: true, types: ['node'] }, files: ['example.ts'] }))
  const compiled = spawnSync(process.execPath, [join(checkoutRoot, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' })
  expect(compiled.stdout + compiled.stderr).toBe('')
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'example.js')], { cwd: checkoutRoot, encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout.split(/\s+/).length).toBeGreaterThan(20)
})

describe('tables', () => {
  test('the exit codes are those of the program', () => {
    const sentence = /^Exit codes: .*$/m.exec(readme)![0]
    expect([...sentence.matchAll(/\d+/g)].map(Number).toSorted((a, b) => a - b)).toEqual(Object.values(exitCodes).toSorted((a, b) => a - b))
  })

  test('the commands are those of the registry, in its order', () => {
    const listed = [...readme.matchAll(/^\| `hypura (\w+)/gm)].map(([, name]) => name)
    expect(listed).toEqual(root.commands.map((command) => command.name()))
  })

  test('every flag that stands behind a command exists there', () => {
    for (const [, name, rest] of readme.matchAll(/hypura (\w+)([^`\n]*)/g)) {
      const command = root.commands.find((one) => one.name() === name)
      if (command === undefined) continue
      for (const [flag] of rest!.matchAll(/(?<=[\s[])--?[a-z][\w-]*/g)) {
        expect(command.options.some(({ short, long }) => short === flag || long === flag), `hypura ${name} ${flag}`).toBe(true)
      }
    }
  })

  test('every file it links to is there', () => {
    for (const [, path] of readme.matchAll(/\]\((?!https?:|#)([^)#]+)\)/g)) expect(() => readFileSync(join(checkoutRoot, path!)), path).not.toThrow(/ENOENT/)
  })
})
