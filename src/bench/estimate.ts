/** How long a benchmark will take: before anything was measured by assumed speeds, afterwards by its first round. */
import { assumedDrive, type ModelPlan } from '../../ts/engine/index.js'
import { leadOf, leadTokens, type Protocol } from './tests.js'

/** Per thread, of a middling processor: bytes of weights per second in decode, positions times weights per second in prompts. */
const decodeBytesPerSecond = 10e9
const promptWeightsPerSecond = 50e9

export interface Estimate {
  readonly roundSeconds: number
  readonly totalSeconds: number
}

/** @param touchedBytes weight bytes that one token needs; @param touchedWeights their number */
export function estimate(protocol: Protocol, plan: ModelPlan, threads: number, touchedBytes: number, touchedWeights: number): Estimate {
  const { bytesPerToken } = plan.expectation()
  const tokenSeconds = Math.max(bytesPerToken.high / assumedDrive.bytesPerSecond, touchedBytes / (decodeBytesPerSecond * threads))
  const promptSeconds = (positions: number): number => {
    const chunks = Math.ceil(positions / plan.regions.batchPositions)
    return Math.max((chunks * bytesPerToken.high) / assumedDrive.bytesPerSecond, (positions * touchedWeights) / (promptWeightsPerSecond * threads))
  }
  const roundSeconds = protocol.tests.reduce((sum, test) => sum + promptSeconds(leadOf(protocol, test)) + (test.kind === 'pp' ? promptSeconds(test.tokens) : test.tokens * tokenSeconds), 0)
  const loadSeconds = plan.residentBytes / assumedDrive.bytesPerSecond + promptSeconds(leadTokens) + protocol.warmupTokens * tokenSeconds
  return { roundSeconds, totalSeconds: (protocol.repetitions + 1) * roundSeconds + loadSeconds }
}
