// What could break: sizes that wrap, round or divide by zero slip past a check, and a later read leaves the file.
// How we notice: each file must be refused with the rule of its class (or the earlier one that its numbers break).
import { refuseAll, type MalformedCase } from '../support/malformed.js'
import { tensorOf, tinyGguf, tinyTensor, type TinyFile, type TinyTensor } from '../support/tiny-gguf.js'

const i8 = 24
const f64 = 28
const last = 'output_norm.weight'
const q = 'blk.0.attn_q.weight'
const int32Max = 2n ** 31n - 1n
const safeMax = 2n ** 53n - 1n
const end = BigInt(tinyGguf().length)

function tensor(name: string, change: (tensor: TinyTensor) => void): (file: TinyFile) => void {
  return (file) => change(tensorOf(file, name))
}

/** Two more tensors of the given dimensions and type behind the others. */
function added(type: number, ...shapes: readonly (readonly bigint[])[]): (file: TinyFile) => void {
  return (file) => {
    shapes.forEach((dims, i) => file.tensors.push({ name: `added.${i}`, dims: [...dims], type, data: new Uint8Array(0) }))
  }
}

const badNames: readonly (readonly [string, Uint8Array])[] = [
  ['a NUL inside', Buffer.from('blk.0\0.weight')],
  ['invalid UTF-8', Buffer.from([0x62, 0xff, 0x6b])],
]

const cases: MalformedCase[] = [
  { rule: 'S1', value: 'length 0', patch: tensor(q, (t) => { t.name = '' }) },
  { rule: 'S1', value: 'length 65', patch: tensor(q, (t) => { t.name = 'n'.repeat(65) }) },
  { rule: 'S1', value: 'length 2^63', patch: tensor(q, (t) => { t.nameBytes = 2n ** 63n }) },
  { rule: 'S1', value: 'length 2^64 - 1', patch: tensor(q, (t) => { t.nameBytes = 2n ** 64n - 1n }) },
  ...badNames.map(([value, name]): MalformedCase => ({ rule: 'S1', value, patch: tensor(q, (t) => { t.name = name }) })),
  { rule: 'S1', value: 'duplicate', patch: tensor(q, (t) => { t.name = 'blk.1.attn_q.weight' }) },
  { rule: 'S2', value: '5 dimensions', patch: tensor(q, (t) => { t.dims = [32n, 32n, 1n, 1n, 1n] }) },
  { rule: 'S2', value: '2^32 - 1 dimensions', patch: tensor(q, (t) => { t.nDims = 0xffff_ffff }) },
  ...[-1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 53n].flatMap((dim): MalformedCase[] => [
    { rule: 'S3', value: `first dimension ${dim}`, patch: tensor(q, (t) => { t.dims[0] = dim }) },
    { rule: 'S3', value: `second dimension ${dim}`, patch: tensor(q, (t) => { t.dims[1] = dim }) },
  ]),
  { rule: 'S3', value: '2^32 rows', patch: tensor(q, (t) => { t.dims[1] = 2n ** 32n }) },
  { rule: 'S3', value: '2^40 beside a dimension of 0', patch: tensor(q, (t) => { t.dims = [0n, 2n ** 40n] }) },
  { rule: 'S4', value: '(4 x INT32_MAX)^2', patch: tensor(q, (t) => { t.dims = [4n * int32Max, 4n * int32Max] }) },
  { rule: 'S4', value: '2^32 x 2^32 wraps to 0', patch: tensor(q, (t) => { t.dims = [2n ** 32n, 2n ** 32n] }) },
  { rule: 'S4', value: '(2^42 + 1) x 2^22 wraps to 2^22', patch: tensor(q, (t) => { t.dims = [2n ** 42n + 1n, 2n ** 22n] }) },
  { rule: 'S4', value: 'four times 2^31', patch: tensor(q, (t) => { t.dims = [2n ** 31n, 2n ** 31n, 2n ** 31n, 2n ** 31n] }) },
  { rule: 'S5', value: '2^51 weights of 8 bytes', patch: added(f64, [2n ** 31n, 2n ** 20n]) },
  { rule: 'S5', value: '2^53 - 2^32 weights of 4 bytes', patch: added(0, [2n ** 32n - 2048n, 2n ** 21n]) },
  { rule: 'S6', value: 'SIZE_MAX - 3 bytes', patch: added(i8, [2n ** 32n - 2n, 2n ** 32n + 2n]), reports: 'S4' },
  // 6361 x 69431 x 20394401 = 2^53 - 1.
  { rule: 'S6', value: '2^53 - 1 bytes, the largest countable', patch: added(i8, [6361n, 69_431n, 20_394_401n]), reports: 'S7' },
  { rule: 'S7', value: 'two of 0x7FFFFFFFFFFFFFC0', patch: added(i8, [0x7fff_ffff_ffff_ffc0n], [0x7fff_ffff_ffff_ffc0n]), reports: 'S3' },
  { rule: 'S7', value: 'two of 2^52', patch: added(i8, [2n ** 31n, 2n ** 21n], [2n ** 31n, 2n ** 21n]) },
  { rule: 'S8', value: 'offset + bytes beyond 2^53', patch: tensor(last, (t) => { t.offset = safeMax - 31n }) },
  { rule: 'S8', value: 'offset + bytes + header beyond 2^53', patch: tensor(last, (t) => { t.offset = safeMax - 1023n }) },
  ...[-1, 43, 4, 5, 31, 32, 33, 36, 37, 38, 255, 0x7fff_ffff].map((type): MalformedCase => ({
    rule: 'S9', value: `type ${type}`, patch: tensor(q, (t) => { t.type = type }), code: 'ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE',
  })),
  { rule: 'S9', value: 'removed types are named', patch: tensor(q, (t) => { t.type = 31 }), says: 'Q4_0_4_4' },
  { rule: 'S10', value: 'Q6_K of 8 x 64', patch: tensor(q, (t) => { t.dims = [8n, 64n]; t.type = 14 }) },
  { rule: 'S10', value: 'Q4_0 of 31', patch: tensor(q, (t) => { t.dims = [31n] }) },
  { rule: 'S10', value: 'Q4_K scalar', patch: tensor(q, (t) => { t.dims = []; t.type = 12 }) },
  { rule: 'S10', value: 'IQ4_XS of 32 x 16', patch: tensor(q, (t) => { t.dims = [32n, 16n]; t.type = 23 }) },
  { rule: 'S10', value: 'MXFP4 of 16', patch: tensor(q, (t) => { t.dims = [16n]; t.type = 39 }) },
  { rule: 'S10', value: 'Q4_K of 255', patch: tensor(q, (t) => { t.dims = [255n, 4n]; t.type = 12 }) },
  { rule: 'S11', value: 'unaligned offset', patch: tensor(q, (t) => { t.offset = 33n }) },
  { rule: 'S11', value: 'offset + size = end + 1', bytes: () => tinyGguf().subarray(0, -1), says: 'cut short' },
  { rule: 'S11', value: 'offset 2^64 - 1', patch: tensor(q, (t) => { t.offset = 2n ** 64n - 1n }) },
  { rule: 'S11', value: 'offset 2^53', patch: tensor(q, (t) => { t.offset = 2n ** 53n }) },
  { rule: 'S11', value: 'offset past the end', patch: tensor(q, (t) => { t.offset = (end / 32n) * 32n }) },
  { rule: 'S11', value: 'data section past the end', patch: dataPastEnd },
  { rule: 'S11', value: '1 TB declared in 4 KB', patch: added(0, [1_000_000n, 250_000n]), reports: 'S15', says: '1,000,000,0' },
  { rule: 'S12', value: 'two tensors on the same bytes', patch: tensor(q, (t) => { t.offset = 0n }) },
  // token_embd.weight ends at 48 x 18 = 864.
  { rule: 'S12', value: 'the last 32 bytes of the first tensor', patch: tensor(last, (t) => { t.offset = 832n }) },
  { rule: 'S12', value: '100,000 tensors on the same bytes', bytes: () => tinyGguf(sameBytes(100_000)) },
  { rule: 'S15', value: 'more than 8 weights per byte of the file', patch: added(i8, [1_000_000n]) },
  { rule: 'S15', value: '3.4e15 parameters in a small file', patch: added(i8, [2n ** 31n, 1_600_000n]) },
]

refuseAll('tensor table', cases)

/** The table is whole, but the file ends before the padding in front of the data. */
function dataPastEnd(file: TinyFile): void {
  file.alignment = 1
  file.tensors = [{ ...tinyTensor('only.weight'), data: new Uint8Array(0) }]
}

function sameBytes(count: number): (file: TinyFile) => void {
  return (file) => {
    file.tensors = Array.from({ length: count }, (_, i) => ({ ...tinyTensor(`t${i}`), offset: 0n, data: new Uint8Array(i === 0 ? 320_000 : 0) }))
  }
}
