/**
 * Every limit of the parser, with its unit and its reason. The native side has its own table (native/base/limits.h);
 * limits on what values mean stand where they are read (ts/manifest, ts/tokenizer).
 *
 * A limit is what the largest honest file needs, times a margin; what is beyond it is refused before memory is spent.
 */
export interface GgufLimits {
  readonly keys: number
  readonly keyBytes: number
  readonly stringBytes: number
  readonly arrayElements: number
  readonly metadataBytes: number
  readonly tensors: number
  readonly tensorNameBytes: number
  readonly dims: number
  readonly dim: number
  readonly alignment: number
  readonly parametersPerByte: number
  readonly parts: number
  readonly parseMs: number
  readonly readTensorBytes: number
  readonly architectureBytes: number
}

export const ggufLimits: GgufLimits = Object.freeze({
  /** Honest files have 20 to 60. */
  keys: 65_536,
  /** The format's own limit: 2^16 - 1 bytes. */
  keyBytes: 65_535,
  /** The longest seen are chat templates and precompiled character maps, below 1 MiB. */
  stringBytes: 16 << 20,
  /** 262,144 tokens and 514,000 merges are the largest seen. */
  arrayElements: 16 << 20,
  /** All keys and values together; the largest vocabularies take about 20 MiB. Also keeps offsets inside 32 bits. */
  metadataBytes: 256 << 20,
  /** Old Mixtral files with one tensor per expert have about 1,000; 1 Mi leaves room for 1,000 experts so stored. */
  tensors: 1_048_576,
  /** ggml keeps 64 bytes for a name. */
  tensorNameBytes: 64,
  /** ggml's own limit. 0 dimensions are a scalar. */
  dims: 4,
  /** Largest length of one dimension: sizes of the native side are 32 bits wide. */
  dim: 0xffff_ffff,
  /** 32 is usual, 4096 is seen; beyond 1 MiB nothing gains. */
  alignment: 1 << 20,
  /** The smallest type stores 7.1 weights in a byte. */
  parametersPerByte: 8,
  /** Parts of a split model; equals kFilesMax of the native side. 300 is the most seen. */
  parts: 1_024,
  /** Wall time for the headers of all parts: the largest honest header takes a tenth of a second. */
  parseMs: 5_000,
  /** readTensor is for norms and RoPE factors, not for streaming weights. */
  readTensorBytes: 64 << 20,
  /** The longest name of a family seen has 18 letters. */
  architectureBytes: 64,
})
