/** B on the model file itself: the engine's backend, block size and depth, each time at places that were not read before. */
import { type Drive, type LoadOptions, measureReads, type ModelPlan, OffsetSet } from '../../ts/engine/index.js'
import { bytes } from '../format.js'
import type { Probe } from './bandwidth.js'

/** Reads in flight, where nobody asks for a number: kIoDepthDefault of native/base/limits.h. */
const depthDefault = 8
const pageBytes = 4096
/** One measurement: long enough to be past the drive's first answers, short beside a round. */
const seconds = 1
/** A pass over the file ends here: what is left is too little for a measurement. */
const passEnd = 0.8
/** A small file is over before the drive is up to speed: it is read again, for as long as this. */
const smallBytes = 64 * 2 ** 20
const passesMax = 16
/** Largest block; longer reads are cut by the engine, too. */
const blockBytesMax = 4 * 2 ** 20
/** What a plan without reads is measured at: nothing depends on it. */
const blockBytesDefault = 2 ** 20

interface Shape {
  readonly blockBytes: number
  readonly depth: number
}

function shapeOf(plan: ModelPlan, { io }: LoadOptions): Shape {
  const mean = plan.reads.meanReadBytes === 0 ? blockBytesDefault : plan.reads.meanReadBytes
  return { blockBytes: Math.min(blockBytesMax, Math.max(pageBytes, Math.round(mean / pageBytes) * pageBytes)), depth: io?.depth ?? depthDefault }
}

/** What a measurement holds while the engine stands still beside it. */
export function probeMemoryBytes(plan: ModelPlan, load: LoadOptions): number {
  const { blockBytes, depth } = shapeOf(plan, load)
  return blockBytes * depth
}

export interface ProbeSubject {
  /** The model's largest file. */
  readonly path: string
  readonly sizeBytes: number
  readonly drive: Drive
  readonly plan: ModelPlan
  readonly load: LoadOptions
  readonly signal: AbortSignal
}

export function driveProbe({ path, sizeBytes, drive, plan, load, signal }: ProbeSubject): Probe {
  const { blockBytes, depth } = shapeOf(plan, load)
  const backend = load.io?.backend ?? 'auto'
  // A place is read again only after the rest of the file was.
  let avoid = new OffsetSet(sizeBytes)
  let readInPass = 0
  return {
    method: { block_bytes: blockBytes, depth, backend },
    async measure() {
      if (drive.kind === 'memory') throw new Error(`${path} lies in memory, on no drive`)
      let read = 0
      let time = 0
      for (let pass = 0; pass < passesMax && (pass === 0 || read < smallBytes); pass++) {
        if (readInPass > sizeBytes * passEnd) {
          avoid = new OffsetSet(sizeBytes)
          readInPass = 0
        }
        const cell = await measureReads(path, { backend, blockBytes, depth, seconds, bytesMax: Math.max(blockBytes, sizeBytes - readInPass), signal, avoid })
        readInPass += cell.bytes
        if (cell.cached) throw new Error(`${bytes(cell.bytes - (cell.osBytes ?? 0))} of ${bytes(cell.bytes)} came from the page cache`)
        read += cell.bytes
        time += cell.seconds
      }
      return read / time
    },
  }
}
