/**
 * The tables of docs/decisions/0011: eviction policies and predictors on the held-out traces, means over traces.
 *
 *   node dist/bench/suites/routing-traces.js [tuned-on|held-out] [tokens between two plans]
 *
 * Deterministic: the traces carry the times of computing, the drive is a model.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkoutRoot } from '../../scripts/tidy.js'
import { assumedDrive, predictors, readTrace, simulate, type Simulation } from '../../ts/engine/index.js'

const [set = 'held-out', every = '4'] = process.argv.slice(2)
const folder = join(checkoutRoot, 'test/traces', set)
const results: Simulation[] = []
for (const name of readdirSync(folder).filter((file) => file.endsWith('.trace'))) {
  results.push(simulate(await readTrace(join(folder, name)), {
    memory: [0.125, 0.25, 0.5, 0.75].map((share) => ({ kind: 'share', share })),
    drive: assumedDrive, planEvery: Number(every), predictors: [...predictors.keys(), 'oracle'],
  }))
}
const mean = (of: (result: Simulation) => number): number => results.reduce((sum, result) => sum + of(result), 0) / results.length
const least = (of: (result: Simulation) => number): number => Math.min(...results.map(of))
const points = (share: number): string => (share * 100).toFixed(1)
const row = (...cells: (string | number)[]): void => void process.stdout.write(`| ${cells.join(' | ')} |\n`)

const [first] = results
row('experts in memory', 'policy', 'hits %', 'of Belady\'s %', 'above recency, points: mean, least', 'stall ms/token')
first!.budgets.forEach(({ slots, policies }, i) => policies.forEach(({ name }, j) => {
  const of = (key: 'hitRate' | 'shareOfBelady' | 'stallSecondsPerToken') => (result: Simulation): number => result.budgets[i]!.policies[j]![key]
  const above = (result: Simulation): number => of('hitRate')(result) - result.budgets[i]!.policies.find((policy) => policy.name === 'recency')!.hitRate
  row(slots, name, points(mean(of('hitRate'))), points(mean(of('shareOfBelady'))), `${points(mean(above))}, ${points(least(above))}`, (mean(of('stallSecondsPerToken')) * 1e3).toFixed(3))
}))

process.stdout.write('\n')
row('predictor', 'found %', 'found of twice as many %', 'right when sure %', 'found when sure %')
first!.predictors.forEach(({ name }, i) => {
  const of = (key: 'atUsed' | 'atTwice' | 'sure', what: 'recall' | 'precision'): string => points(mean((result) => result.predictors[i]!.judgement[key][what]))
  row(name, of('atUsed', 'recall'), of('atTwice', 'recall'), of('sure', 'precision'), of('sure', 'recall'))
})

process.stdout.write('\n')
row('experts in memory', 'predictor', 'action', 'stall saved ms/token', '% of the stall', 'read ahead KiB/token', 'wasted KiB/token')
first!.budgets.forEach(({ slots, guesses }, i) => guesses.forEach(({ predictor, action }, j) => {
  const of = (key: 'savedSecondsPerToken' | 'guessedBytesPerToken' | 'wastedBytesPerToken' | 'stallSecondsPerToken'): number => mean((result) => result.budgets[i]!.guesses[j]![key])
  const saved = of('savedSecondsPerToken')
  row(slots, predictor, action, (saved * 1e3).toFixed(3), points(saved / (saved + of('stallSecondsPerToken'))), (of('guessedBytesPerToken') / 1024).toFixed(1), (of('wastedBytesPerToken') / 1024).toFixed(1))
}))
