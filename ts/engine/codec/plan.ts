/** Encodes a Plan message. Format: docs/formats/plan.md; native checks every size and id again. */
import { invariant } from '../../base/errors.js'
import { followOf, guessMode, guessSource, planFormat, planMagic, prefillAdmission } from '../../native/layout.gen.js'
import type { ResidencyPlan } from '../../prefetch/plan.js'
import { recordBytes, SectionPlan, writeRecord } from './records.js'

/** @param nBlocks of the manifest; plan.scores has one entry for each */
export function encodePlan(plan: ResidencyPlan, nBlocks: number): ArrayBuffer {
  const { scores, hold, warm, followers: { relations, firstBlock, base, width, followers } } = plan
  invariant(scores.length === nBlocks, `a plan with ${scores.length} scores for ${nBlocks} blocks`)
  invariant(followers.length === relations.length * base.length * width * 2, `a table of ${followers.length / 2} followers in ${relations.length} x ${base.length} x ${width} places`)
  const sections = new SectionPlan()
  const headerAt = sections.place(recordBytes('PlanHeader'))
  const scoreAt = sections.place(nBlocks * 4)
  const holdAt = sections.place(hold.length * 4)
  const warmAt = sections.place(warm.length * 4)
  const relationAt = sections.place(relations.length * recordBytes('FollowRelation'))
  const baseAt = sections.place(base.byteLength)
  const followerAt = sections.place(followers.byteLength)
  const message = new ArrayBuffer(sections.bytes)
  const view = new DataView(message)
  writeRecord(view, headerAt, 'PlanHeader', {
    magic: planMagic, format: planFormat, sequenceNumber: plan.sequenceNumber, nBlocks, pinCount: plan.pinCount,
    prefillAdmission: prefillAdmission[plan.prefillAdmission], nHold: hold.length, nWarm: warm.length,
    scoreOffset: scoreAt, holdOffset: holdAt, warmOffset: warmAt,
    guessMode: guessMode[plan.guessMode], guessesMax: plan.guessesMax,
    guessSource: guessSource[plan.guessOrigin], nRelations: relations.length, nFollowers: width, nRows: base.length, firstRow: firstBlock,
    relationOffset: relationAt, baseOffset: baseAt, followerOffset: followerAt,
  })
  scores.forEach((score, block) => view.setFloat32(scoreAt + block * 4, score, true))
  hold.forEach((block, i) => view.setUint32(holdAt + i * 4, block, true))
  warm.forEach((block, i) => view.setUint32(warmAt + i * 4, block, true))
  relations.forEach(({ of, distance }, i) => writeRecord(view, relationAt + i * recordBytes('FollowRelation'), 'FollowRelation', { of: followOf[of], distance }))
  // Megabytes for a large model. Every processor that the engine runs on is little-endian.
  new Uint16Array(message, baseAt, base.length).set(base)
  new Uint16Array(message, followerAt, followers.length).set(followers)
  return message
}
