/** What this machine offers, for `hypura doctor` and for programs that want to choose. */
import { autoBudgetBytes, type MemoryLimit, memoryLimits, tightestLimit } from '../machine/memory-limits.js'
import type { HardwareReport } from '../native/native-binding.js'
import { findBinding } from '../native/load-binding.js'
import { callNative } from './native-errors.js'

export interface SystemInfo {
  readonly hardware: HardwareReport
  readonly memory: readonly MemoryLimit[]
  /** What `memory: 'auto'` would place now. */
  readonly autoBudgetBytes: number
  readonly binaryPath: string
  readonly node: string
}

/** `path`: a file or folder whose file system is asked for direct reads. */
export async function systemInfo(path?: string): Promise<SystemInfo> {
  const { binding, path: binaryPath } = findBinding()
  const memory = memoryLimits()
  return {
    hardware: callNative(() => binding.probe(path)),
    memory,
    autoBudgetBytes: autoBudgetBytes(tightestLimit(memory)),
    binaryPath,
    node: process.version,
  }
}
