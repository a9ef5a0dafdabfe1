/** How readily the system lets the calling thread run beside others. */
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { basename } from 'node:path'

/**
 * Lets other threads go first, from now on and for this thread alone; nothing where the system has no priorities of threads
 * (other than Linux) or refuses.
 * @param nice 0 as others .. 19 last; a thread cannot take it back
 * @returns whether it did
 */
export function letOthersGoFirst(nice: number): boolean {
  try {
    // Names the thread that asks: <process>/task/<thread>. Linux takes it where it takes a process.
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), nice)
    return true
  } catch {
    return false
  }
}
