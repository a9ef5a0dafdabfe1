/** A simulation for people and for programs. */
import type { BudgetResult, CurvePoint, GuessResult, Simulation, Trace } from '../ts/engine/index.js'
import { bytes, percent, sizeArgument, table } from './format.js'
import { printable } from './terminal.js'

export const simulationFormats: {
  human(path: string, trace: Trace, result: Simulation): string
  json(path: string, trace: Trace, result: Simulation): unknown
} = { human, json }

const points = (share: number): string => `${(share * 100).toFixed(1)} %`
const milliseconds = (seconds: number): string => `${(seconds * 1e3).toFixed(2).replace(/^-(?=[0.]*$)/, '')} ms`

function human(path: string, { model, lostEvents, skippedSweeps }: Trace, result: Simulation): string {
  const { tokens, prefillSweeps, experts, computeSecondsPerToken, predictors, budgets, curve, shippedPolicy } = result
  return [
    `${path}: ${printable(model.name)} (${printable(model.architecture)}), ${experts} experts, ${model.nExpertUsed} of ${model.nExpert} per layer · ${tokens} tokens${prefillSweeps > 0 ? `, ${prefillSweeps} sweeps of a prompt` : ''} · computing ${milliseconds(computeSecondsPerToken)} per token`,
    ...(skippedSweeps > 0 ? [`${skippedSweeps} sweeps are missing from it${lostEvents > 0 ? `, ${lostEvents} event records were lost` : ''}`] : []),
    ...budgets.flatMap((budget) => ['', ...budgetLines(budget, result)]),
    ...(predictors.length === 0 ? [] : ['', 'guesses of the next choice, whatever the memory', table([
      ['  predictor', 'found', 'right', 'found of twice as many', 'right when sure', 'found when sure'],
      ...predictors.map(({ name, judgement: { atUsed, atTwice, sure } }) => [`  ${name}`, percent(atUsed.recall), percent(atUsed.precision), percent(atTwice.recall), percent(sure.precision), percent(sure.recall)]),
    ])]),
    '', 'what memory buys: share of experts that were not there',
    table([['  --memory', 'experts', 'recency', shippedPolicy, 'belady'], ...curve.map((point) => [`  ${memoryOf(point, experts)}`, `${point.slots}`, points(point.recency), points(point.shipped), points(point.belady)])]),
  ].join('\n')
}

const memoryOf = ({ budgetBytes, slots }: Pick<CurvePoint, 'budgetBytes' | 'slots'>, experts: number): string =>
  (budgetBytes > 0 ? sizeArgument(budgetBytes) : percent(slots / experts))

function budgetLines(budget: BudgetResult, { experts }: Simulation): string[] {
  const { slots, policies, guesses, budgetBytes } = budget
  return [
    `${slots} of ${experts} experts in memory (${percent(slots / experts)}${budgetBytes > 0 ? `, --memory ${sizeArgument(budgetBytes)}` : ''})`,
    table([
      ['  policy', 'hits', 'of belady\'s', 'read per token', 'stall per token'],
      ...policies.map(({ name, canRun, hitRate, shareOfBelady, bytesPerToken, stallSecondsPerToken }) =>
        [`  ${name}${canRun ? '' : ' (yardstick)'}`, points(hitRate), points(shareOfBelady), bytes(bytesPerToken), milliseconds(stallSecondsPerToken)]),
    ]),
    ...(guesses.length === 0 ? [] : [table([
      ['  guesses', 'stall saved by keeping', 'by reading ahead', 'read ahead', 'wasted'],
      ...guesses.filter(({ action }) => action === 'prefetch').map((guess) => guessRow(guess, guesses)),
    ])]),
  ]
}

function guessRow({ predictor, savedSecondsPerToken, guessedBytesPerToken, wastedBytesPerToken }: GuessResult, all: readonly GuessResult[]): string[] {
  const kept = all.find((guess) => guess.predictor === predictor && guess.action === 'retain')
  return [`  ${predictor}`, milliseconds(kept?.savedSecondsPerToken ?? 0), milliseconds(savedSecondsPerToken), bytes(guessedBytesPerToken), bytes(wastedBytesPerToken)]
}

function json(path: string, { model, lostEvents, skippedSweeps }: Trace, result: Simulation): unknown {
  return {
    trace: path,
    model: model.name, architecture: model.architecture, model_sha256: model.sha256, experts: result.experts, experts_used: model.nExpertUsed,
    tokens: result.tokens, prefill_sweeps: result.prefillSweeps, lost_events: lostEvents, skipped_sweeps: skippedSweeps,
    compute_seconds_per_token: result.computeSecondsPerToken, shipped_policy: result.shippedPolicy,
    budgets: result.budgets.map(({ budgetBytes, slots, policies, guesses }) => ({
      budget_bytes: budgetBytes, slots,
      policies: policies.map((policy) => ({
        name: policy.name, can_run: policy.canRun, hit_rate: policy.hitRate, share_of_belady: policy.shareOfBelady,
        bytes_per_token: policy.bytesPerToken, stall_seconds_per_token: policy.stallSecondsPerToken,
      })),
      guesses: guesses.map((guess) => ({
        predictor: guess.predictor, action: guess.action, saved_seconds_per_token: guess.savedSecondsPerToken, stall_seconds_per_token: guess.stallSecondsPerToken,
        guessed_bytes_per_token: guess.guessedBytesPerToken, wasted_bytes_per_token: guess.wastedBytesPerToken,
      })),
    })),
    predictors: result.predictors.map(({ name, judgement: { atUsed, atTwice, sure } }) => ({ name, at_used: atUsed, at_twice: atTwice, sure })),
    curve: result.curve.map(({ budgetBytes, slots, recency, shipped, belady }) => ({ budget_bytes: budgetBytes, slots, miss_ratio: { recency, shipped, belady } })),
  }
}
