/**
 * The judge of malformed files: each must end in a typed error that names rule and place, quickly, leaving nothing open.
 *
 * A case is one file. `rule` is the class it belongs to; `reports` stands where another rule is broken before, or where
 * what is misread cannot be foretold.
 */
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { HypuraError, type ErrorCode } from '../../ts/base/errors.js'
import { openGguf } from '../../ts/gguf/parse.js'
import { tinyGguf, type Patch, type TinyKind } from './tiny-gguf.js'

export interface MalformedCase {
  readonly rule: string
  readonly value: string
  readonly patch?: Patch
  readonly kind?: TinyKind
  /** The whole file, where a patch cannot say it. */
  readonly bytes?: () => Uint8Array
  readonly reports?: string | RegExp
  readonly code?: ErrorCode
  /** Words that the message must contain. */
  readonly says?: string
}

/** Usual is 1 ms. Time on the processor, so that a busy machine does not fail the test. */
export const msMax = 1_000
const growthBytesMax = 64 << 20

/** Runs a table; the number of its files is printed by the names of the tests. */
export function refuseAll(title: string, cases: readonly MalformedCase[]): void {
  describe(title, () => {
    const folder = temporaryFolder()
    test.each(cases.map((one) => [`${one.rule} ${one.value}`, one] as const))('%s', async (_, one) => {
      const path = join(folder, 'model.gguf')
      writeFileSync(path, one.bytes?.() ?? tinyGguf(one.patch, one.kind))
      await expectRefused(path, one)
      await expectStillWorking(folder)
    })
  })
}

export async function expectRefused(path: string, one: Pick<MalformedCase, 'rule' | 'reports' | 'code' | 'says'>): Promise<HypuraError> {
  const rss = process.memoryUsage.rss()
  const begin = cpuMs()
  const error: unknown = await openGguf(path).then(() => undefined, (reason: unknown) => reason)
  const ms = cpuMs() - begin
  expect(error, 'the file was accepted').toBeInstanceOf(HypuraError)
  const { code, message, details } = error as HypuraError
  expect(code, message).not.toBe('ERR_HYPURA_BUG')
  if (one.reports instanceof RegExp) expect(details['rule'], message).toMatch(one.reports)
  else expect(details['rule'], message).toBe(one.reports ?? one.rule)
  expect(typeof details['offset'] === 'number' || typeof details['field'] === 'string', message).toBe(true)
  expect(message.length).toBeLessThan(1_000)
  expect(message).not.toMatch(/[\x00-\x1f]/)
  if (one.code !== undefined) expect(code).toBe(one.code)
  if (one.says !== undefined) expect(message).toContain(one.says)
  expect(ms).toBeLessThan(msMax)
  expect(process.memoryUsage.rss() - rss).toBeLessThan(growthBytesMax)
  expect(descriptorsOf(path)).toEqual([])
  return error as HypuraError
}

/** After any refusal the valid file opens as before. */
export async function expectStillWorking(folder: string): Promise<void> {
  const path = join(folder, 'valid.gguf')
  writeFileSync(path, tinyGguf())
  expect((await openGguf(path)).tensors.size).toBe(21)
  expect(descriptorsOf(path)).toEqual([])
}

/** Milliseconds that this process has spent on processors. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** Open descriptors of this process that lead to `path`. */
export function descriptorsOf(path: string): string[] {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  })
}

/** A folder that is removed when the file's tests are over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hypura-malformed-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
