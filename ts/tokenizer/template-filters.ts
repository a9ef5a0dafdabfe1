/**
 * Filters and tests of Jinja, as chat templates use them (`value | tojson(indent=2)`, `value is defined`).
 *
 * `tojson` is json.dumps without escaping of HTML, as Transformers sets it up. Tables are Maps: names come from
 * templates.
 *
 * @see https://jinja.palletsprojects.com/en/stable/templates/#builtin-filters
 */
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'
import { dictKey, integer, text } from './template-methods.js'
import { capitalize, characterCount, indent, repeat, replace, strip, title } from './template-texts.js'
import {
  Callable, compare, equals, fromData, isNumeric, iterate, joined, Namespace, toJson, toText, truthy, typeName,
  type Dict, type Key, type Keywords, type Value,
} from './template-values.js'

export type Filter = (value: Value, args: readonly Value[], keywords: Keywords, budget: Budget) => Value
export type Test = (value: Value) => boolean

/** @throws reason "missing-feature" */
export function findFilter(name: string): Filter {
  const filter = filters.get(name)
  if (!filter) throw new TemplateFailure('missing-feature', `there is no filter ${name}`)
  return filter
}

/** @throws reason "missing-feature" */
export function findTest(name: string): Test {
  const test = tests.get(name)
  if (!test) throw new TemplateFailure('missing-feature', `there is no test ${name}`)
  return test
}

const tests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['defined', (value) => value !== undefined],
  ['undefined', (value) => value === undefined],
  ['none', (value) => value === null],
  ['string', (value) => typeof value === 'string'],
  ['boolean', (value) => typeof value === 'boolean'],
  ['true', (value) => value === true],
  ['false', (value) => value === false],
  ['number', isNumeric],
  ['integer', (value) => Number.isInteger(value)],
  ['float', (value) => typeof value === 'number' && !Number.isInteger(value)],
  ['odd', (value) => integer(value) % 2 !== 0],
  ['even', (value) => integer(value) % 2 === 0],
  ['mapping', (value) => value instanceof Map],
  ['iterable', (value) => typeof value === 'string' || Array.isArray(value) || value instanceof Map || value === undefined],
  ['sequence', (value) => typeof value === 'string' || Array.isArray(value) || value instanceof Map || value === undefined],
  ['callable', (value) => value instanceof Callable],
  ['lower', (value) => typeof value === 'string' && value === value.toLowerCase()],
  ['upper', (value) => typeof value === 'string' && value === value.toUpperCase()],
])

/** Tests with an operand, for select and selectattr. */
function testWith(name: string, budget: Budget): (value: Value, operand: Value) => boolean {
  switch (name) {
    case 'eq': case 'equalto': case '==': return (a, b) => equals(a, b, budget)
    case 'ne': case '!=': return (a, b) => !equals(a, b, budget)
    case 'lt': case 'lessthan': case '<': return (a, b) => compare(a, b, budget) < 0
    case 'le': case '<=': return (a, b) => compare(a, b, budget) <= 0
    case 'gt': case 'greaterthan': case '>': return (a, b) => compare(a, b, budget) > 0
    case 'ge': case '>=': return (a, b) => compare(a, b, budget) >= 0
    case 'in': return (a, b) => contains(b, a, budget)
    default: return findTest(name)
  }
}

/** Python's `item in container`. */
export function contains(container: Value, item: Value, budget: Budget): boolean {
  if (container === undefined) return false
  if (typeof container === 'string') return item !== undefined && container.includes(text(item))
  if (container instanceof Map) return item !== undefined && container.has(dictKey(item))
  if (container instanceof Namespace) return container.entries.has(text(item))
  if (Array.isArray(container)) return container.some((one) => equals(one, item, budget))
  throw new TemplateFailure('value', `nothing can be in ${typeName(container)}`)
}

const textFilter = (change: (value: string) => string): Filter => (value, _args, _keywords, budget) =>
  budget.text(change(toText(value, budget)))

const filters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ['safe', (value) => value],
  ['string', (value, _args, _keywords, budget) => toText(value, budget)],
  ['tojson', tojson],
  ['from_json', fromJson],
  ['upper', textFilter((value) => value.toUpperCase())],
  ['lower', textFilter((value) => value.toLowerCase())],
  ['title', textFilter(title)],
  ['capitalize', textFilter(capitalize)],
  ['trim', (value, args, keywords, budget) => strip(toText(value, budget), stripped(args[0] ?? keywords.get('chars')), 'both')],
  ['escape', escapeHtml],
  ['e', escapeHtml],
  ['indent', indentFilter],
  ['replace', (value, args, keywords, budget) =>
    replace(toText(value, budget), toText(args[0], budget), toText(args[1], budget), integer(args[2] ?? keywords.get('count') ?? -1), budget)],
  ['join', (value, args, keywords, budget) => {
    const items = pickedBy(iterate(value), keywords.get('attribute') ?? args[1])
    return joined(items.map((item) => toText(item, budget)), toText(args[0] ?? keywords.get('d') ?? '', budget), budget)
  }],
  ['length', length],
  ['count', length],
  ['first', (value) => iterate(value)[0]],
  ['last', (value) => iterate(value).at(-1)],
  ['list', (value, _args, _keywords, budget) => sized(iterate(value).slice(), budget)],
  ['reverse', (value, _args, _keywords, budget) => {
    const items = sized(iterate(value).slice(), budget).reverse()
    return typeof value === 'string' ? items.join('') : items
  }],
  ['sort', sort],
  ['unique', (value, _args, keywords, budget) => unique(iterate(value), keywords.get('attribute'), budget)],
  ['min', (value, _args, _keywords, budget) => extreme(iterate(value), -1, budget)],
  ['max', (value, _args, _keywords, budget) => extreme(iterate(value), 1, budget)],
  ['sum', (value, args, keywords) => pickedBy(iterate(value), args[0] ?? keywords.get('attribute')).reduce<number>(
    (sum, item) => sum + numberOf(item), numberOf(keywords.get('start') ?? 0))],
  ['abs', (value) => Math.abs(numberOf(value))],
  ['round', (value, args, keywords) => round(numberOf(value), integer(args[0] ?? keywords.get('precision') ?? 0))],
  ['int', (value, args, keywords) => toInteger(value, args[0] ?? keywords.get('default') ?? 0)],
  ['float', (value, args, keywords) => toFloat(value, args[0] ?? keywords.get('default') ?? 0)],
  ['bool', (value) => truthy(value)],
  ['default', orElse],
  ['d', orElse],
  ['items', (value) => [...dict(value)].map(([key, item]) => [key, item])],
  ['dictsort', dictsort],
  ['map', map],
  ['select', (value, args, _keywords, budget) => itemsOf(value).filter(chosen(args, budget))],
  ['reject', (value, args, _keywords, budget) => itemsOf(value).filter((item) => !chosen(args, budget)(item))],
  ['selectattr', (value, args, _keywords, budget) => chosenByAttribute(value, args, true, budget)],
  ['rejectattr', (value, args, _keywords, budget) => chosenByAttribute(value, args, false, budget)],
  ['batch', (value, args, _keywords, budget) => batch(iterate(value), integer(args[0]), budget)],
  ['wordcount', (value, _args, _keywords, budget) => toText(value, budget).match(/\S+/g)?.length ?? 0],
  ['center', (value, args, _keywords, budget) => {
    const shown = toText(value, budget)
    const missing = Math.max(0, integer(args[0] ?? 80) - characterCount(shown))
    return repeat(' ', Math.floor(missing / 2), budget) + shown + repeat(' ', Math.ceil(missing / 2), budget)
  }],
])

function tojson(value: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  const indentation = args[0] ?? keywords.get('indent') ?? null
  const separators = keywords.get('separators') ?? null
  return toJson(value, {
    indent: indentation === null ? undefined : typeof indentation === 'string' ? indentation : repeat(' ', integer(indentation), budget),
    separators: separators === null ? undefined : pair(separators),
    sortKeys: truthy(keywords.get('sort_keys')),
    asciiOnly: truthy(keywords.get('ensure_ascii')),
  }, budget)
}

function fromJson(value: Value, _args: readonly Value[], _keywords: Keywords, budget: Budget): Value {
  try {
    return fromData(JSON.parse(text(value)), budget.limits.inputDepth)
  } catch (error) {
    if (error instanceof SyntaxError) throw new TemplateFailure('value', 'from_json of a text that is not JSON')
    throw error
  }
}

function pair(value: Value): readonly [string, string] {
  const [first, second] = iterate(value)
  return [text(first), text(second)]
}

function stripped(value: Value): string | undefined {
  return value === undefined || value === null ? undefined : text(value)
}

function escapeHtml(value: Value, _args: readonly Value[], _keywords: Keywords, budget: Budget): Value {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' }
  return budget.text(toText(value, budget).replace(/[&<>"']/g, (c) => entities[c]!))
}

function indentFilter(value: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  const width = args[0] ?? keywords.get('width') ?? 4
  const by = typeof width === 'string' ? width : repeat(' ', integer(width), budget)
  const first = truthy(args[1] ?? keywords.get('first'))
  return indent(toText(value, budget), by, first, truthy(args[2] ?? keywords.get('blank')), budget)
}

function length(value: Value): Value {
  if (typeof value === 'string') return characterCount(value)
  if (value instanceof Map) return value.size
  if (Array.isArray(value)) return value.length
  if (value === undefined) return 0
  throw new TemplateFailure('value', `${typeName(value)} has no length`)
}

function sized(items: Value[], budget: Budget): Value[] {
  budget.listOf(items.length)
  return items
}

/** Case is ignored unless case_sensitive is given, as in Jinja. */
function sort(value: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  const sign = truthy(args[0] ?? keywords.get('reverse')) ? -1 : 1
  const exact = truthy(args[1] ?? keywords.get('case_sensitive'))
  const attribute = args[2] ?? keywords.get('attribute')
  const key = (item: Value): Value => folded(attribute === undefined ? item : attributeOf(item, attribute), exact)
  return sized(iterate(value).slice(), budget).sort((a, b) => sign * compare(key(a), key(b), budget))
}

function dictsort(value: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  const exact = truthy(args[0] ?? keywords.get('case_sensitive'))
  const by = (args[1] ?? keywords.get('by') ?? 'key') === 'value' ? 1 : 0
  const sign = truthy(args[2] ?? keywords.get('reverse')) ? -1 : 1
  const entries: [Key, Value][] = [...dict(value)]
  entries.sort((a, b) => sign * compare(folded(a[by], exact), folded(b[by], exact), budget))
  return entries
}

function folded(value: Value, exact: boolean): Value {
  return typeof value === 'string' && !exact ? value.toLowerCase() : value
}

function unique(items: readonly Value[], attribute: Value, budget: Budget): Value[] {
  const seen = new Set<Value>()
  const kept: Value[] = []
  for (const item of items) {
    const key = folded(attribute === undefined ? item : attributeOf(item, attribute), false)
    const known = typeof key === 'object' ? [...seen].some((one) => equals(one, key, budget)) : seen.has(key)
    if (!known) kept.push(item)
    seen.add(key)
  }
  return kept
}

function extreme(items: readonly Value[], sign: number, budget: Budget): Value {
  let best = items[0]
  for (const item of items) if (sign * compare(folded(item, false), folded(best, false), budget) > 0) best = item
  return best
}

function numberOf(value: Value): number {
  if (!isNumeric(value)) throw new TemplateFailure('value', `a number is wanted, this is ${typeName(value)}`)
  return Number(value)
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits
  return Math.round(value * scale) / scale
}

function toInteger(value: Value, otherwise: Value): Value {
  if (isNumeric(value)) return Math.trunc(Number(value))
  return typeof value === 'string' && /^\s*[+-]?\d+/.test(value) ? parseInt(value, 10) : otherwise
}

function toFloat(value: Value, otherwise: Value): Value {
  if (isNumeric(value)) return Number(value)
  const parsed = typeof value === 'string' ? parseFloat(value) : NaN
  return Number.isNaN(parsed) ? otherwise : parsed
}

function orElse(value: Value, args: readonly Value[], keywords: Keywords): Value {
  const otherwise = args[0] ?? keywords.get('default_value') ?? (args.length > 0 ? args[0] : '')
  const whenFalse = truthy(args[1] ?? keywords.get('boolean'))
  return value === undefined || (whenFalse && !truthy(value)) ? otherwise : value
}

function dict(value: Value): Dict {
  if (value === undefined) return new Map()
  if (!(value instanceof Map)) throw new TemplateFailure('value', `a dict is wanted, this is ${typeName(value)}`)
  return value
}

/** map(attribute='a.b', default=x) or map('filter', arguments…). */
function map(value: Value, args: readonly Value[], keywords: Keywords, budget: Budget): Value {
  const items = itemsOf(value)
  const attribute = keywords.get('attribute')
  if (attribute !== undefined) {
    const otherwise = keywords.get('default')
    return items.map((item) => attributeOf(item, attribute) ?? otherwise)
  }
  const filter = findFilter(text(args[0]))
  return items.map((item) => {
    budget.step()
    return filter(item, args.slice(1), keywords, budget)
  })
}

/** What is false has no items: None too, for the filters that choose. */
function itemsOf(value: Value): Value[] {
  return truthy(value) ? iterate(value) : []
}

function pickedBy(items: readonly Value[], attribute: Value): Value[] {
  return attribute === undefined ? [...items] : items.map((item) => attributeOf(item, attribute))
}

/** "a.b.0" of an item. */
function attributeOf(item: Value, path: Value): Value {
  let value = item
  for (const part of String(path).split('.')) {
    if (value instanceof Map) value = value.get(part)
    else if (value instanceof Namespace) value = value.entries.get(part)
    else if (Array.isArray(value)) value = value[Number(part)]
    else return undefined
  }
  return value
}

function chosen(args: readonly Value[], budget: Budget): (item: Value) => boolean {
  if (args.length === 0) return truthy
  const test = testWith(text(args[0]), budget)
  return (item) => test(item, args[1])
}

function chosenByAttribute(value: Value, args: readonly Value[], wanted: boolean, budget: Budget): Value {
  const isChosen = chosen(args.slice(1), budget)
  return itemsOf(value).filter((item) => isChosen(attributeOf(item, args[0])) === wanted)
}

function batch(items: readonly Value[], size: number, budget: Budget): Value {
  if (size < 1) throw new TemplateFailure('value', 'batch() of less than one item')
  const batches: Value[] = []
  for (let at = 0; at < items.length; at += size) batches.push(items.slice(at, at + size))
  return sized(batches, budget)
}
