/** The same answers from weights that all lie in memory: the second implementation that a streamed speed is held against. */
import { autoBudgetBytes, memoryLimits, type ModelPlan, tightestLimit } from '../../ts/engine/index.js'
import { bytes } from '../format.js'
import { requireAgreement } from './agreement.js'
import { type Repetition, runRepetition } from './repetition.js'
import { type SessionOptions, withSession } from './session.js'

/** Largest model that is loaded a second time only to compare tokens. */
const residentBytesMax = 2e9

export interface ResidentComparison {
  /** That it was compared, or why not. */
  readonly note: string
  readonly comparisons: number
  readonly tokens: number
}

const notCompared = (reason: string): ResidentComparison => ({ note: `not compared: ${reason}`, comparisons: 0, tokens: 0 })

/** Errors: ERR_HYPURA_BUG when the tokens differ. */
export async function compareResident(options: SessionOptions, plan: ModelPlan, answers: readonly Repetition[], isWanted: boolean): Promise<ResidentComparison> {
  if (!isWanted) return notCompared('--no-check-resident')
  if (plan.mode === 'resident') return notCompared('the run itself is resident')
  if (plan.modelBytes >= residentBytesMax) return notCompared(`${bytes(plan.modelBytes)} are more than the ${bytes(residentBytesMax)} that are loaded for this`)
  const allowed = autoBudgetBytes(tightestLimit(memoryLimits()))
  if (plan.resident.total > allowed) return notCompared(`all in memory takes ${bytes(plan.resident.total)}, of which ${bytes(allowed)} are free here`)

  const { contextLength, kvType, threads, tokenizerPre } = options.load
  const load = { contextLength, kvType, threads, tokenizerPre, mode: 'resident' as const, memory: allowed }
  const others: Repetition[] = []
  await withSession({ ...options, load, protocol: { ...options.protocol, warmupTokens: 0 } }, async (bench) => {
    for (const { test, prompt } of answers) others.push(await runRepetition(bench, options.protocol, test, prompt))
  })
  const compared = requireAgreement(answers, others, 'when all weights were in memory')
  return { note: 'compared, equal', ...compared }
}
