// What could break: a counter that wraps, a program that answers nonsense, for ever or not at all, kelvin taken for Celsius, an
// estimate that divides by nothing, a platform counted beside the packages in it. How we notice: fixtures of both programs,
// hostile answers, programs that are deaf or leave their pipe to a child, a counter that is turned by hand.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { energyCounter } from './energy.js'
import { parseNvme, parseSmartctl, type RunTool, runTool, smartReport } from './smart.js'
import { readText } from './system-files.js'
import { readDisturbRange, wearEstimate } from './wear.js'

const sys = mkdtempSync(join(tmpdir(), 'hypura-energy-'))
afterAll(() => rmSync(sys, { recursive: true, force: true }))

const smartctl = JSON.stringify({
  smartctl: { exit_status: 4 },
  nvme_smart_health_information_log: { percentage_used: 103, available_spare: 98, data_units_read: 2_000_000, data_units_written: '340282366920938463463374607431768211455', power_on_hours: 7, temperature: 44, media_errors: 0 },
  power_on_time: { hours: 812 },
  temperature: { current: 43 },
})
const nvme = JSON.stringify({ temperature: 316, avail_spare: 100, percent_used: 2, data_units_read: '10', data_units_written: 20, power_on_hours: 99, media_errors: 1 })

test('both programs, their units and their widths', () => {
  expect(parseSmartctl(smartctl)).toEqual({ percentageUsed: 103, availableSparePercent: 98, dataReadBytes: 2_000_000 * 512_000, dataWrittenBytes: 2 ** 128 * 512_000, powerOnHours: 812, temperatureCelsius: 43, mediaErrors: 0 })
  expect(parseNvme(nvme)).toMatchObject({ temperatureCelsius: 43, percentageUsed: 2, availableSparePercent: 100, dataReadBytes: 5_120_000, dataWrittenBytes: 10_240_000 })
})

test.each(['', 'null', '[]', '7', '{', '{"nvme_smart_health_information_log":5}', '{"temperature":{"current":-4}}', '{"smartctl":{"exit_status":1}}', `{"a":"${'x'.repeat(1000)}"}`])('%s has no values', (output) => {
  expect([parseSmartctl(output), parseNvme(output === '{"temperature":{"current":-4}}' ? '{}' : output)]).toEqual([undefined, undefined])
})

test('the first program that answers is believed; otherwise each says why not', async () => {
  const asked: string[] = []
  const tools = (answers: Readonly<Record<string, string>>): RunTool => async (program, args) => {
    asked.push([program, ...args].join(' '))
    const output = answers[program]
    return output === undefined ? { reason: 'not installed' } : { output }
  }
  expect(await smartReport({ devices: ['nvme0n1'] }, tools({ smartctl: '{}', nvme }))).toMatchObject({ available: true, source: 'nvme', powerOnHours: 99 })
  expect(asked).toEqual(['smartctl -j -a /dev/nvme0n1', 'nvme smart-log -o json /dev/nvme0n1'])
  const none = await smartReport({ devices: ['vda'] }, tools({}))
  expect(none).toMatchObject({ available: false, source: undefined, percentageUsed: undefined })
  expect(none.reason).toBe('smartctl: not installed')
  expect((await smartReport({ devices: [] }, tools({}))).available).toBe(false)
  expect((await smartReport({ devices: ['sda', 'sdb'] }, tools({ smartctl }))).reason).toContain('2 devices')
})

test('a program that is deaf to SIGTERM is cut off and ended', async () => {
  const pidFile = join(sys, 'deaf')
  const deaf = ['-c', 'trap "" TERM; echo $$ > "$0"; echo "{"; while :; do sleep 0.1; done', pidFile]
  expect(await runTool('/bin/sh', deaf, 1000)).toEqual({ reason: 'no answer within 1 s' })
  const pid = readFileSync(pidFile, 'utf8').trim()
  const isAlive = (): boolean => /^\d+ \(.*\) [^Z]/s.test(readText(`/proc/${pid}/stat`) ?? '')
  await expect.poll(isAlive, { timeout: 5000 }).toBe(false)
}, 15_000)

test('a program whose child keeps the pipe open is cut off', async () => {
  const began = performance.now()
  expect(await runTool('/bin/sh', ['-c', 'sleep 12 & exit 0'], 500)).toEqual({ reason: 'no answer within 0.5 s' })
  expect(performance.now() - began).toBeLessThan(10_000)
}, 20_000)

test('what a program says counts also when it fails; silence, too much and absence are reasons', async () => {
  expect(await runTool('/bin/sh', ['-c', 'echo {}; exit 4'])).toEqual({ output: '{}\n' })
  expect(await runTool('/bin/sh', ['-c', 'exit 4'])).toEqual({ reason: 'ended with 4 and said nothing' })
  expect(await runTool('/bin/sh', ['-c', 'exec cat /dev/zero'])).toEqual({ reason: 'said more than 1048576 bytes' })
  expect(await runTool('no-such-program-anywhere', [])).toEqual({ reason: 'not installed' })
}, 15_000)

test('energy is summed over packages and over the wrap of their registers', () => {
  expect(energyCounter({ sys: join(sys, 'none') })).toMatchObject({ available: false })
  const packages = ['intel-rapl:0', 'intel-rapl:1'].map((name) => join(sys, 'class/powercap', name))
  const set = (folder: string, microjoules: number): void => writeFileSync(join(folder, 'energy_uj'), `${microjoules}\n`)
  for (const [i, folder] of packages.entries()) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'name'), `package-${i}\n`)
    writeFileSync(join(folder, 'max_energy_range_uj'), '1000000\n')
    set(folder, 900_000)
  }
  mkdirSync(join(sys, 'class/powercap/intel-rapl:0:0')) // a part of the first: not to be counted twice
  const platform = join(sys, 'class/powercap/intel-rapl:2') // contains both packages: the same
  mkdirSync(platform)
  for (const [file, text] of [['name', 'psys\n'], ['max_energy_range_uj', '1000000\n'], ['energy_uj', '0\n']] as const) writeFileSync(join(platform, file), text)
  const counter = energyCounter({ sys })
  if (!counter.available) throw new Error(counter.reason)
  expect(counter.source).toBe('RAPL package-0 + package-1')
  expect(counter.joules()).toBe(0)
  set(packages[0]!, 100_000) // wrapped
  set(packages[1]!, 950_000)
  set(platform, 500_000)
  expect(counter.joules()).toBeCloseTo(0.2 + 0.05, 9)
  expect(counter.joules()).toBeCloseTo(0.25, 9)
  rmSync(join(packages[1]!, 'energy_uj'))
  expect(energyCounter({ sys })).toMatchObject({ available: false, reason: expect.stringContaining('may not be read') })
})

test('wear: the range is that of the bytes read, and the rating lasts by it', () => {
  const day = { tokens: 100, seconds: 86_400, readBytes: 100e12, processWrittenBytes: 0, driveWrittenBytes: 5, ratedTbw: 1200 }
  const estimate = wearEstimate(day)
  expect(estimate).toMatchObject({ readBytesPerToken: 1e12, writtenBytesPerDay: 0 })
  expect(estimate.readBytesPerDay / 100e12).toBeCloseTo(1, 9)
  expect(estimate.hiddenWritesPerDay.low / (100e12 * readDisturbRange.low)).toBeCloseTo(1, 9)
  expect(estimate.hiddenWritesPerDay.high / (100e12 * readDisturbRange.high)).toBeCloseTo(1, 9)
  expect(estimate.yearsToRating!.high).toBeCloseTo(1200 / 0.1 / 365.25, 6)
  expect(estimate.yearsToRating!.low).toBeCloseTo(1200 / 4.6 / 365.25, 6)
  expect(estimate.verdict).toMatch(/^nothing was written; .*0\.10 to 4\.6 TB a day \(assumed range, not measured\): its rating would last 0\.71 to 33 years$/)
  expect(wearEstimate({ ...day, ratedTbw: undefined })).toMatchObject({ yearsToRating: undefined })
  expect(wearEstimate({ ...day, readBytes: 0, tokens: 0, seconds: 0 })).toMatchObject({ readBytesPerToken: 0, verdict: 'nothing was written, and nothing was read' })
  expect(wearEstimate({ ...day, processWrittenBytes: undefined }).verdict).toContain('not known')
})
