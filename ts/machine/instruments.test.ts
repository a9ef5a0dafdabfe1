// What could break: a counter that wraps, a program that answers nonsense, for ever or not at all, kelvin taken for Celsius, an
// estimate that divides by nothing. How we notice: fixtures of both programs, hostile answers, a counter that is turned by hand.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { energyCounter } from './energy.js'
import { parseNvme, parseSmartctl, type RunTool, smartReport } from './smart.js'
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

test('this machine answers something within the time limit', async () => {
  const report = await smartReport({ devices: ['no-such-device'] })
  expect(report.available ? '' : report.reason).toBe(report.reason)
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
  const counter = energyCounter({ sys })
  if (!counter.available) throw new Error(counter.reason)
  expect(counter.source).toBe('RAPL package-0 + package-1')
  expect(counter.joules()).toBe(0)
  set(packages[0]!, 100_000) // wrapped
  set(packages[1]!, 950_000)
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
