/**
 * What a drive says of its own age: SMART values through smartctl or nvme, where one is installed and may ask.
 *
 * Never asks for rights; what cannot be had is 'not available' with the reason. The programs' output is a stranger's: it is cut
 * at a mebibyte, has five seconds, and every number is checked.
 *
 * @see NVM Express Base Specification, SMART / Health Information (log page 02h): data units are 1,000 blocks of 512 bytes
 */
import { execFile } from 'node:child_process'
import type { Drive } from './drive.js'

export interface SmartReport {
  readonly available: boolean
  /** Why not; '' when available. */
  readonly reason: string
  /** The program that was asked; undefined when none answered. */
  readonly source: string | undefined
  /** Endurance used, of the maker's own rating; may pass 100. */
  readonly percentageUsed: number | undefined
  readonly availableSparePercent: number | undefined
  /** By the host, over the drive's life. */
  readonly dataWrittenBytes: number | undefined
  readonly dataReadBytes: number | undefined
  readonly powerOnHours: number | undefined
  readonly temperatureCelsius: number | undefined
  readonly mediaErrors: number | undefined
}

/** Runs a program; its standard output, also after a failure, or why there is none. */
export type RunTool = (program: string, args: readonly string[]) => Promise<{ readonly output: string } | { readonly reason: string }>

const outputBytesMax = 2 ** 20
const toolMs = 5000
const dataUnitBytes = 512_000

const nothing: Omit<SmartReport, 'available' | 'reason' | 'source'> = {
  percentageUsed: undefined, availableSparePercent: undefined, dataWrittenBytes: undefined, dataReadBytes: undefined,
  powerOnHours: undefined, temperatureCelsius: undefined, mediaErrors: undefined,
}
const notAvailable = (reason: string): SmartReport => ({ available: false, reason, source: undefined, ...nothing })

/** Never rejects. Of several devices nothing is said: their ages differ. */
export async function smartReport({ devices }: Pick<Drive, 'devices'>, run: RunTool = runTool): Promise<SmartReport> {
  const [device] = devices
  if (device === undefined || devices.length > 1) return notAvailable(device === undefined ? 'the drive has no device that could be asked' : `${devices.length} devices hold the file`)
  const reasons: string[] = []
  for (const { program, args, parse } of tools) {
    if (program === 'nvme' && !device.startsWith('nvme')) continue
    const answer = await run(program, [...args, `/dev/${device}`])
    const found = 'reason' in answer ? undefined : parse(answer.output)
    if (found !== undefined) return { available: true, reason: '', source: program, ...found }
    reasons.push(`${program}: ${'reason' in answer ? answer.reason : 'no SMART values in its answer (a virtual drive, a USB bridge, or root is needed)'}`)
  }
  return notAvailable(reasons.join('; '))
}

type Values = Omit<SmartReport, 'available' | 'reason' | 'source'>

const tools: readonly { readonly program: string; readonly args: readonly string[]; readonly parse: (output: string) => Values | undefined }[] = [
  // Its exit status is a mask of findings: JSON may be good with any.
  { program: 'smartctl', args: ['-j', '-a'], parse: parseSmartctl },
  { program: 'nvme', args: ['smart-log', '-o', 'json'], parse: parseNvme },
]

/** Undefined for anything without SMART values. */
export function parseSmartctl(output: string): Values | undefined {
  const root = objectOf(output)
  const log = child(root, 'nvme_smart_health_information_log')
  const hours = numberOf(child(root, 'power_on_time')['hours'])
  const celsius = numberOf(child(root, 'temperature')['current'])
  const values: Values = {
    percentageUsed: numberOf(log['percentage_used']),
    availableSparePercent: numberOf(log['available_spare']),
    dataWrittenBytes: units(log['data_units_written']),
    dataReadBytes: units(log['data_units_read']),
    powerOnHours: hours ?? numberOf(log['power_on_hours']),
    temperatureCelsius: celsius ?? numberOf(log['temperature']),
    mediaErrors: numberOf(log['media_errors']),
  }
  return Object.values(values).some((value) => value !== undefined) ? values : undefined
}

/** nvme-cli gives kelvin, and names that differ between versions. */
export function parseNvme(output: string): Values | undefined {
  const log = objectOf(output)
  const kelvin = numberOf(log['temperature'])
  const values: Values = {
    percentageUsed: numberOf(log['percent_used'] ?? log['percentage_used']),
    availableSparePercent: numberOf(log['avail_spare'] ?? log['available_spare']),
    dataWrittenBytes: units(log['data_units_written']),
    dataReadBytes: units(log['data_units_read']),
    powerOnHours: numberOf(log['power_on_hours']),
    temperatureCelsius: kelvin === undefined ? undefined : Math.round(kelvin - 273.15),
    mediaErrors: numberOf(log['media_errors']),
  }
  return Object.values(values).some((value) => value !== undefined) ? values : undefined
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(text) as unknown
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : {}
  } catch {
    return {}
  }
}

function child(of: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const value = of[name]
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}

/** Counters are up to 128 bits wide and come as numbers or digits; beyond 2^53 the last digits do not matter. */
function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'number' ? value : typeof value === 'string' && /^\d{1,39}$/.test(value) ? Number(value) : NaN
  return Number.isFinite(number) && number >= 0 ? number : undefined
}

function units(value: unknown): number | undefined {
  const count = numberOf(value)
  return count === undefined ? undefined : count * dataUnitBytes
}

const runTool: RunTool = (program, args) => new Promise((resolve) => {
  execFile(program, [...args], { timeout: toolMs, maxBuffer: outputBytesMax, encoding: 'utf8' }, (error, stdout) => {
    if (stdout !== '' || error === null) return resolve({ output: stdout })
    const { code } = error as NodeJS.ErrnoException
    resolve({ reason: code === 'ENOENT' ? 'not installed' : error.killed === true ? `no answer within ${toolMs / 1000} s` : `ended with ${String(code)} and said nothing` })
  })
})
