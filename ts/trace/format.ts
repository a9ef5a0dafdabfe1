/** Numbers of the trace format (docs/formats/trace.md) and the limits of both its ends. On disk: append only, never renumber. */

/** The bytes "HYPT". */
export const traceMagic = 0x54505948
export const traceFormat = 1
/** Header up to its first text. */
export const fixedHeaderBytes = 64

export const recordTags = { end: 0, position: 1, union: 2, gap: 3 } as const
/** Behind the end tag: sweeps, lost events, skipped sweeps, CRC-32 of all before it. */
export const endBytes = 16

export const traceLimits = {
  /** 48 layers of 8 choices are 384 bytes a token: 87,000 tokens. A recorder stops here, a reader refuses. */
  fileBytes: 33_554_432,
  /** Ids after unions were written out, 2 bytes each. */
  choices: 33_554_432,
  sweeps: 4_194_304,
  /** kLayersMax and kExpertsMax of native/base/limits.h; the largest known models have some 25,000 experts in all layers. */
  layers: 4_096,
  experts: 65_535,
  blocks: 1_048_576,
  textBytes: 256,
  /** kBatchPositionsMax of native/base/limits.h is 512. */
  positions: 65_536,
} as const

/** Bytes of one id of a single position's choice. */
export const idBytes = (nExpert: number): 1 | 2 => (nExpert <= 256 ? 1 : 2)
/** Bytes of one layer's union. */
export const unionBytes = (nExpert: number): number => Math.ceil(nExpert / 8)
