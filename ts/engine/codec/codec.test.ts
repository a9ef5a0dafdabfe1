// What could break: a field written at another place than native reads it. How we notice: messages are read back by offsets
// written down by hand from the C++ structs, apart from the table that the encoder uses.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fakeFamily, tinyMixture } from '../../../test/support/fake-families.js'
import { fakeModel } from '../../../test/support/fake-model.js'
import { buildManifest } from '../../manifest/block-manifest.js'
import type { RegionSizes } from '../../prefetch/region-sizes.js'
import { decodeEvents, eventWords } from './events.js'
import { encodeLoad, encodeSpec } from './load.js'
import { encodePlan } from './plan.js'

const budget: RegionSizes = {
  budgetBytes: 2 ** 40 + 1, trunkBytes: 2, pinnedBytes: 3, ringBytes: 4, poolSlotBytes: 5, rowSlotBytes: 6, kvBytes: 7, kvType: 'q8_0', scratchBytes: 8,
  poolSlots: 9, rowSlots: 10, pinCount: 11, nCtx: 12, nSequences: 13, batchPositions: 14, logitsRows: 15, placement: 'copied',
}

test('the Load message, field by field', async () => {
  const manifest = await buildManifest(fakeModel(fakeFamily(tinyMixture)))
  const { spec, files, tensors, blocks, extents, pinOrder } = manifest
  const twoFiles = [...files, { ...files[0]!, path: 'zweite-größe.gguf' }]
  const mirror = twoFiles.map((file, i) => ({ ...file, path: `mirror-${i}`, drive: 1, verified: i === 1 }))
  const view = new DataView(encodeLoad(manifest, spec, [...twoFiles, ...mirror], budget, { count: 2, driveBytesPerSecond: [0, 2.5e9] }))
  const u32 = (at: number): number => view.getUint32(at, true)
  const u64 = (at: number): number => Number(view.getBigUint64(at, true))
  expect(String.fromCharCode(view.getUint8(0), view.getUint8(1), view.getUint8(2), view.getUint8(3))).toBe('HYLD')
  expect([4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52].map(u32)).toEqual([
    1, 5, 2, 1, tensors.length, blocks.count, extents.count, pinOrder.length, manifest.firstHeadBand, spec.invFreq.length, 2, 2, 0,
  ])
  const [filesAt, drivesAt, specsAt, tensorsAt, blocksAt, extentsAt, pinsAt, freqAt, budgetAt, stringsAt, stringsBytes] =
    [56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136].map(u64) as [number, number, number, number, number, number, number, number, number, number, number]

  expect([u64(filesAt), view.getBigInt64(filesAt + 8, true), view.getBigUint64(filesAt + 16, true), u64(filesAt + 24)]).toEqual([
    files[0]!.sizeBytes, files[0]!.mtimeNs, files[0]!.inode, Number(files[0]!.device),
  ])
  const path = (file: number): string =>
    new TextDecoder().decode(new Uint8Array(view.buffer, stringsAt + u32(filesAt + file * 48 + 32), u32(filesAt + file * 48 + 36)))
  expect([0, 1, 2, 3].map(path)).toEqual(['fake.gguf', 'zweite-größe.gguf', 'mirror-0', 'mirror-1'])
  expect(stringsBytes).toBe(9 + 19 + 16)
  expect([0, 1, 2, 3].map((file) => [40, 44].map((field) => u32(filesAt + file * 48 + field)))).toEqual([[0, 1], [0, 1], [1, 0], [1, 1]])
  expect([0, 8].map((at) => view.getFloat64(drivesAt + at, true))).toEqual([0, 2.5e9])

  expect([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72].map((at) => u32(specsAt + at))).toEqual([
    2, 64, 4, 2, 32, 32, 0, 80, 8, 2, 32, 0, 0, 32, 2, 1, 0, 0, 1,
  ])
  expect([76, 80, 84, 88, 92, 96, 100].map((at) => view.getFloat32(specsAt + at, true))).toEqual(
    [1e-5, 1 / Math.sqrt(32), 1, 1, 1, 1, 1].map(Math.fround))
  expect(new Uint8Array(view.buffer, specsAt, 104)).toEqual(new Uint8Array(encodeSpec(spec)))

  const query = tensors.findIndex(({ role, layer }) => role === 'query' && layer === 1)
  expect([view.getUint16(tensorsAt + query * 24, true), view.getUint16(tensorsAt + query * 24 + 2, true)]).toEqual([11, 1])
  expect([4, 8, 12, 16, 20].map((at) => u32(tensorsAt + query * 24 + at))).toEqual([0, 128, 64, tensors[query]!.firstBlock, 1])
  expect(view.getUint16(tensorsAt + 2, true)).toBe(0xffff)

  for (let id = 0; id < blocks.count; id++) {
    const at = blocksAt + id * 24
    expect([u32(at), view.getUint16(at + 4, true), view.getUint16(at + 6, true), view.getUint8(at + 8), view.getUint8(at + 9)]).toEqual([
      blocks.tensor[id], blocks.layer[id], blocks.expert[id], blocks.kind[id], blocks.extentCount[id],
    ])
    expect([u32(at + 12), u32(at + 16), u32(at + 20)]).toEqual([blocks.firstExtent[id], blocks.rowBegin[id], blocks.rowCount[id]])
  }
  for (let i = 0; i < extents.count; i++) {
    const at = extentsAt + i * 24
    expect([u32(at), u32(at + 4), u64(at + 8), u64(at + 16)]).toEqual([extents.file[i], extents.type[i], extents.offset[i], extents.bytes[i]])
  }
  expect(Array.from(pinOrder, (_, i) => u32(pinsAt + i * 4))).toEqual([...pinOrder])
  expect(Array.from(spec.invFreq, (_, i) => view.getFloat64(freqAt + i * 8, true))).toEqual([...spec.invFreq])
  expect([0, 8, 16, 24, 32, 40, 48, 56].map((at) => u64(budgetAt + at))).toEqual([2 ** 40 + 1, 2, 3, 4, 5, 6, 7, 8])
  expect([64, 68, 72, 76, 80, 84, 88, 92, 96, 100].map((at) => u32(budgetAt + at))).toEqual([9, 10, 11, 12, 13, 14, 15, 2, 1, 1])
})

test('a Plan message, field by field', () => {
  fc.assert(fc.property(
    fc.array(fc.float({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 40 }), fc.array(fc.nat(39)), fc.array(fc.nat(39)),
    fc.array(fc.nat(0xffff), { maxLength: 9 }), fc.nat(3), fc.array(fc.constantFrom({ of: 'layer' as const, distance: 3 }, { of: 'token' as const, distance: 1 }), { maxLength: 3 }),
    (scores, hold, warm, base, width, relations) => {
      const followers = Array.from({ length: relations.length * base.length * width * 2 }, (_, i) => (i * 40_503) % 0x10000)
      const view = new DataView(encodePlan({
        sequenceNumber: 7, pinCount: 3, prefillAdmission: 'bypass', scores: Float32Array.from(scores), hold: Uint32Array.from(hold), warm: Uint32Array.from(warm),
        guessMode: 'prefetch', guessesMax: 9, guessOrigin: 'table',
        followers: { relations, firstBlock: 77, base: Uint16Array.from(base), width, followers: Uint16Array.from(followers) },
      }, scores.length))
      expect([0, 4, 8, 12, 16, 20, 24, 28].map((at) => view.getUint32(at, true))).toEqual([
        0x4c505948, 2, 7, scores.length, 3, 2, hold.length, warm.length,
      ])
      const section = (header: number): number => Number(view.getBigUint64(header, true))
      expect(scores.map((_, i) => view.getFloat32(section(32) + i * 4, true))).toEqual(scores)
      expect(hold.map((_, i) => view.getUint32(section(40) + i * 4, true))).toEqual(hold)
      expect(warm.map((_, i) => view.getUint32(section(48) + i * 4, true))).toEqual(warm)
      expect([56, 60, 64, 68, 72, 76, 80, 84].map((at) => view.getUint32(at, true))).toEqual([3, 9, 1, relations.length, width, base.length, 77, 0])
      const u16 = (at: number): number => view.getUint16(at, true)
      expect(relations.flatMap((_, i) => [u16(section(88) + i * 4), u16(section(88) + i * 4 + 2)])).toEqual(relations.flatMap(({ of, distance }) => [of === 'token' ? 1 : 0, distance]))
      expect(base.map((_, i) => u16(section(96) + i * 2))).toEqual(base)
      expect(followers.map((_, i) => u16(section(104) + i * 2))).toEqual(followers)
    },
  ))
})

test('events of every kind, an unknown one among them', () => {
  const words = new Uint32Array(11 * eventWords)
  const view = new DataView(words.buffer)
  const head = (record: number, kind: number, count: number, layer = 0xffff): number => {
    const at = record * 32
    view.setBigUint64(at, 5_000_000_000n + BigInt(record), true)
    view.setUint32(at + 8, 40 + record, true)
    view.setUint16(at + 12, layer, true)
    view.setUint8(at + 14, kind)
    view.setUint8(at + 15, count)
    return at + 16
  }
  const put = (at: number, ...values: number[]): void => values.forEach((value, i) => view.setUint32(at + i * 4, value, true))
  const route = head(0, 1, 3, 5)
  ;[9, 300, 2].forEach((expert, i) => view.setUint16(route + i * 2, expert, true))
  put(head(1, 2, 1), 77, 4096, 12, 1)
  put(head(2, 3, 1), 77, 900, 8192, 1)
  const evict = head(3, 4, 1)
  put(evict, 3, 4, 0, 6)
  view.setFloat32(evict + 8, 1.5, true)
  put(head(4, 99, 1), 1, 2, 3, 4)
  put(head(5, 5, 1), 1234, 1, 10, 20)
  put(head(6, 6, 1), 0xffff_fffb, 2, 1, 3)
  put(head(7, 7, 2), 12 << 16 | 7, 9 << 16 | 5, 3, 1)
  const absent = head(8, 8, 2, 5)
  ;[9, 2].forEach((expert, i) => view.setUint16(absent + i * 2, expert, true))
  put(head(9, 9, 1), 3, 2, 700, 1)
  const events = decodeEvents(words, 10)
  expect(events).toEqual([
    { kind: 'route', timeNs: 5_000_000_000, sweep: 40, layer: 5, experts: [9, 300, 2] },
    { kind: 'read', timeNs: 5_000_000_001, sweep: 41, layer: undefined, block: 77, bytes: 4096, microseconds: 12, retries: 1 },
    { kind: 'stall', timeNs: 5_000_000_002, sweep: 42, layer: undefined, block: 77, microseconds: 900, bytesMissing: 8192, cause: 'expert' },
    { kind: 'evict', timeNs: 5_000_000_003, sweep: 43, layer: undefined, block: 3, replacedBy: 4, priority: 1.5, ageSweeps: 6 },
    { kind: 'token', timeNs: 5_000_000_005, sweep: 45, layer: undefined, token: 1234, positions: 1, computeMicroseconds: 10, stallMicroseconds: 20 },
    { kind: 'fault', timeNs: 5_000_000_006, sweep: 46, layer: undefined, errno: -5, file: 2, offset: 1 + 3 * 2 ** 32 },
    { kind: 'guess', timeNs: 5_000_000_007, sweep: 47, layer: undefined, mode: 'retain', guessed: 12, correct: 7, asked: 9, absent: 5, correctAbsent: 3, origin: 'table' },
    { kind: 'absent', timeNs: 5_000_000_008, sweep: 48, layer: 5, experts: [9, 2] },
    { kind: 'sweep', timeNs: 5_000_000_009, sweep: 49, layer: undefined, sequence: 3, client: 2, firstPosition: 700, positions: 1 },
  ])
  expect(decodeEvents(words.subarray(0, eventWords), 7)).toHaveLength(1)
})
