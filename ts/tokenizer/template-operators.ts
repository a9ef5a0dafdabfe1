/** Operators of templates with Python's meaning: texts and numbers do not mix, % follows the divisor's sign. */
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'
import { contains } from './template-filters.js'
import { formatPercent } from './template-methods.js'
import { repeat } from './template-texts.js'
import { compare, equals, isNumeric, toText, truthy, typeName, type Value } from './template-values.js'

/** @param right evaluated only when the operator needs it */
export function binary(operator: string, left: Value, right: () => Value, budget: Budget): Value {
  switch (operator) {
    case 'and': return truthy(left) ? right() : left
    case 'or': return truthy(left) ? left : right()
    case '==': return equals(left, right(), budget)
    case '!=': return !equals(left, right(), budget)
    case 'in': return contains(right(), left, budget)
    case 'not in': return !contains(right(), left, budget)
    case '<': return compare(left, right(), budget) < 0
    case '<=': return compare(left, right(), budget) <= 0
    case '>': return compare(left, right(), budget) > 0
    case '>=': return compare(left, right(), budget) >= 0
    case '~': return budget.text(toText(left, budget) + toText(right(), budget))
    default: return arithmetic(operator, left, right(), budget)
  }
}

function arithmetic(operator: string, left: Value, right: Value, budget: Budget): Value {
  if (isNumeric(left) && isNumeric(right)) return calculate(operator, Number(left), Number(right))
  if (operator === '+') {
    if (typeof left === 'string' && typeof right === 'string') return budget.text(left + right)
    if (Array.isArray(left) && Array.isArray(right)) {
      budget.listOf(left.length + right.length)
      return left.concat(right)
    }
  }
  if (operator === '*') {
    const [many, count] = isNumeric(right) ? [left, right] : [right, left]
    if (typeof many === 'string' && isNumeric(count)) return repeat(many, Number(count), budget)
    if (Array.isArray(many) && isNumeric(count)) return repeatList(many, Number(count), budget)
  }
  if (operator === '%' && typeof left === 'string') return formatPercent(left, right, budget)
  throw new TemplateFailure('value', `${typeName(left)} ${operator} ${typeName(right)} has no meaning`)
}

function calculate(operator: string, a: number, b: number): number {
  if (b === 0 && (operator === '/' || operator === '//' || operator === '%')) throw new TemplateFailure('value', 'division by zero')
  switch (operator) {
    case '+': return a + b
    case '-': return a - b
    case '*': return a * b
    case '/': return a / b
    case '//': return Math.floor(a / b)
    case '%': return a - b * Math.floor(a / b)
    case '**': return a ** b
    default: throw new TemplateFailure('missing-feature', `the operator ${operator}`)
  }
}

function repeatList(items: readonly Value[], count: number, budget: Budget): Value[] {
  const times = Math.max(0, Math.floor(count))
  budget.listOf(items.length * times)
  return Array.from({ length: times }, () => items).flat()
}

export function negated(operator: string, value: Value): Value {
  if (operator === 'not') return !truthy(value)
  if (!isNumeric(value)) throw new TemplateFailure('value', `${operator}${typeName(value)} has no meaning`)
  return operator === '-' ? -Number(value) : Number(value)
}

/** value[start:stop:step]; texts are cut between characters, not between their halves. */
export function sliced(
  value: Value, start: number | undefined, stop: number | undefined, step: number | undefined, budget: Budget,
): Value {
  if (value === undefined) return undefined
  if (typeof value === 'string') {
    const isPlain = !/[\ud800-\udfff]/.test(value)
    if (isPlain && (step === undefined || step === 1)) return value.slice(start ?? 0, stop ?? value.length)
    return sliceOf(Array.from(value), start, stop, step ?? 1).join('')
  }
  if (Array.isArray(value)) {
    budget.listOf(value.length)
    return sliceOf(value, start, stop, step ?? 1)
  }
  throw new TemplateFailure('value', `${typeName(value)} cannot be sliced`)
}

function sliceOf<T>(items: readonly T[], start: number | undefined, stop: number | undefined, step: number): T[] {
  if (step === 0) throw new TemplateFailure('value', 'a slice with step 0')
  const last = items.length - 1
  const bound = (at: number, low: number, high: number): number => Math.min(high, Math.max(low, at < 0 ? at + items.length : at))
  const result: T[] = []
  if (step > 0) {
    const end = stop === undefined ? items.length : bound(stop, 0, items.length)
    for (let i = start === undefined ? 0 : bound(start, 0, items.length); i < end; i += step) result.push(items[i]!)
  } else {
    const end = stop === undefined ? -1 : bound(stop, -1, last)
    for (let i = start === undefined ? last : bound(start, -1, last); i > end; i += step) result.push(items[i]!)
  }
  return result
}
