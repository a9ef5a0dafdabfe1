/**
 * From what was seen to a plan: scores by the chosen policy, and a list of experts worth reading in idle time.
 *
 * Pure: no clock, no randomness, no state. Runs in a worker, a few times per second at most.
 */
import type { AccessStats } from './access-stats.js'
import { readSeconds, type DriveCost } from './cost-model.js'
import type { EvictionPolicy } from './eviction/policy.js'
import type { ExpertBlocks } from './expert-blocks.js'
import { type FollowTable, type GuessMode, noFollowers, type ResidencyPlan } from './plan.js'
import type { RegionSizes } from './region-sizes.js'

export interface PlannerInput {
  readonly manifest: ExpertBlocks
  readonly regions: Pick<RegionSizes, 'pinCount' | 'poolSlots'>
  readonly policy: EvictionPolicy
  readonly drive: DriveCost
  readonly stats: AccessStats
  readonly sequenceNumber: number
  /** Fill free slots in idle time. Default true. */
  readonly warm?: boolean
  /** Default off. */
  readonly guessMode?: GuessMode
  /** What guesses are made by; default: the next layer's router. */
  readonly followers?: FollowTable | undefined
}

/** A tenth of the pool stays free of warmed experts, for those that the router really asks for. */
const warmShare = 0.9
/** Fewer sweeps say too little to read ahead by. */
const warmEvidence = 16

/** Of the experts that a layer chooses: its likeliest. Of 8, 5 were right four times of five, all 8 two times of three. */
const guessedShare = 0.625

export const guessesMaxOf = ({ nExpertUsed }: ExpertBlocks['spec']): number => Math.ceil(nExpertUsed * guessedShare)

export function planResidency(input: PlannerInput): ResidencyPlan {
  const { manifest, regions, policy, drive, stats, sequenceNumber, warm = true, guessMode = 'off', followers } = input
  const { blocks } = manifest
  const experts = expertBlocks(manifest)
  const usesPerToken = stats.usesPerToken()
  const scores = policy.scores({
    experts, nBlocks: blocks.count, usesPerToken, readSeconds: (bytes) => readSeconds(drive, bytes),
  })
  const worthReading = warm && stats.evidence() >= warmEvidence
  return {
    sequenceNumber,
    pinCount: regions.pinCount,
    prefillAdmission: 'keepHits',
    scores,
    hold: new Uint32Array(0),
    warm: worthReading ? mostUsed(experts, usesPerToken, Math.floor(regions.poolSlots * warmShare)) : new Uint32Array(0),
    guessMode,
    guessesMax: guessesMaxOf(manifest.spec),
    guessOrigin: followers === undefined ? 'router' : 'table',
    followers: followers ?? noFollowers,
  }
}

/** The plan before anything was seen: all experts equal, nothing held, nothing warmed. */
export function firstPlan(manifest: ExpertBlocks, regions: Pick<RegionSizes, 'pinCount'>): ResidencyPlan {
  return {
    sequenceNumber: 1,
    pinCount: regions.pinCount,
    prefillAdmission: 'normal',
    scores: new Float32Array(manifest.blocks.count).fill(1),
    hold: new Uint32Array(0),
    warm: new Uint32Array(0),
    guessMode: 'off',
    guessesMax: 0,
    guessOrigin: 'router',
    followers: noFollowers,
  }
}

function expertBlocks({ blocks, experts }: ExpertBlocks): { id: number; bytes: number }[] {
  return Array.from({ length: experts.count }, (_, i) => {
    const id = experts.first + i
    return { id, bytes: blocks.hullBytes[id]! }
  })
}

/** Ids by falling use, ties by id; those never used are left out. */
function mostUsed(experts: readonly { id: number }[], usesPerToken: Float64Array, most: number): Uint32Array {
  const ids = experts.map(({ id }) => id).sort((a, b) => usesPerToken[b]! - usesPerToken[a]! || a - b)
  return Uint32Array.from(ids.slice(0, most))
}
