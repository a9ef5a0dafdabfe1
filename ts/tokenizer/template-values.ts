/**
 * Values of templates, with Python's meaning: truth, equality, order, text and JSON.
 *
 * A value is a plain JavaScript value: undefined, null (None), boolean, number, string, Array (list and tuple), Map
 * (dict), Namespace or Callable. JavaScript objects and prototypes never appear, so there is nothing to climb.
 * Whole floats print without ".0": JSON does not tell 1.0 from 1 either.
 */
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'

export type Key = string | number | boolean | null
export type Dict = Map<Key, Value>
export type Value = undefined | null | boolean | number | string | Value[] | Dict | Namespace | Callable

/** What namespace() makes: the one thing that `set` may change from an inner scope. */
export class Namespace {
  readonly entries: Map<string, Value>

  constructor(entries: Iterable<readonly [string, Value]> = []) {
    this.entries = new Map(entries)
  }
}

export type Keywords = ReadonlyMap<string, Value>

export class Callable {
  readonly name: string
  readonly call: (args: readonly Value[], keywords: Keywords) => Value

  constructor(name: string, call: (args: readonly Value[], keywords: Keywords) => Value) {
    this.name = name
    this.call = call
  }
}

export function truthy(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (value instanceof Map) return value.size > 0
  return Boolean(value)
}

/** Name of a value's type in messages. */
export function typeName(value: Value): string {
  if (value === undefined) return 'undefined'
  if (value === null) return 'none'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Map) return 'dict'
  if (value instanceof Namespace) return 'namespace'
  if (value instanceof Callable) return 'function'
  return typeof value === 'number' ? (Number.isInteger(value) ? 'integer' : 'float') : typeof value
}

/** Python's ==. True is 1; undefined equals undefined only. */
export function equals(a: Value, b: Value, budget: Budget): boolean {
  budget.step()
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && budget.nested(() => a.every((item, i) => equals(item, b[i], budget)))
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && budget.nested(() => [...a].every(([key, item]) => b.has(key) && equals(item, b.get(key), budget)))
  }
  return isNumeric(a) && isNumeric(b) && Number(a) === Number(b)
}

export function isNumeric(value: Value): value is number | boolean {
  return typeof value === 'number' || typeof value === 'boolean'
}

/** Negative, zero or positive. @throws reason "value" for things without an order */
export function compare(a: Value, b: Value, budget: Budget): number {
  budget.step()
  if (isNumeric(a) && isNumeric(b)) return Number(a) - Number(b)
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  if (Array.isArray(a) && Array.isArray(b)) {
    return budget.nested(() => {
      for (let i = 0; i < Math.min(a.length, b.length); i++) {
        if (!equals(a[i], b[i], budget)) return compare(a[i], b[i], budget)
      }
      return a.length - b.length
    })
  }
  throw new TemplateFailure('value', `${typeName(a)} and ${typeName(b)} have no order`)
}

/** The items that a loop runs over. */
export function iterate(value: Value): Value[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value
  if (typeof value === 'string') return Array.from(value)
  if (value instanceof Map) return [...value.keys()]
  throw new TemplateFailure('value', `${typeName(value)} cannot be iterated over`)
}

/** Python's str(), which {{ value }} prints; undefined prints nothing. */
export function toText(value: Value, budget: Budget): string {
  return typeof value === 'string' ? value : value === undefined ? '' : represent(value, budget)
}

/** Python's repr(). */
function represent(value: Value, budget: Budget): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'string') return budget.text(quoted(value))
  budget.step()
  if (Array.isArray(value)) {
    return budget.nested(() => `[${joined(written(value, (item) => represent(item, budget), budget), ', ', budget)}]`)
  }
  if (value instanceof Map) {
    const entry = ([key, item]: [Key, Value]): string => `${represent(key, budget)}: ${represent(item, budget)}`
    return budget.nested(() => `{${joined(written([...value], entry, budget), ', ', budget)}}`)
  }
  if (value instanceof Callable) return `<function ${value.name}>`
  if (value instanceof Namespace) return '<namespace>'
  return String(value)
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', [quote]: `\\${quote}` }
  return quote + text.replace(/[\\\n\r\t'"]/g, (c) => escapes[c] ?? c) + quote
}

/** The text of each item, with their sum checked as it grows. */
function written<T>(items: readonly T[], write: (item: T) => string, budget: Budget): string[] {
  let units = 0
  return items.map((item) => {
    const text = write(item)
    budget.textOf((units += text.length))
    return text
  })
}

/** Array.join with the result's size checked before it is made. */
export function joined(parts: readonly string[], separator: string, budget: Budget): string {
  let units = separator.length * Math.max(0, parts.length - 1)
  for (const part of parts) units += part.length
  budget.step(parts.length)
  budget.textOf(units)
  return parts.join(separator)
}

export interface JsonOptions {
  readonly indent?: string | undefined
  readonly separators?: readonly [string, string] | undefined
  readonly sortKeys?: boolean
  readonly asciiOnly?: boolean
}

/** Python's json.dumps(). */
export function toJson(value: Value, options: JsonOptions, budget: Budget, level: number = 0): string {
  budget.step()
  const [itemSeparator, keySeparator] = options.separators ?? [options.indent === undefined ? ', ' : ',', ': ']
  const wrap = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close
    if (options.indent === undefined) return open + joined(parts, itemSeparator, budget) + close
    budget.textOf(options.indent.length * (level + 1) * (parts.length + 1))
    const inner = `\n${options.indent.repeat(level + 1)}`
    return open + inner + joined(parts, itemSeparator + inner, budget) + `\n${options.indent.repeat(level)}` + close
  }
  if (Array.isArray(value)) {
    return budget.nested(() => wrap('[', written(value, (item) => toJson(item, options, budget, level + 1), budget), ']'))
  }
  if (value instanceof Map || value instanceof Namespace) {
    const entries: [Key, Value][] = [...(value instanceof Map ? value : value.entries)]
    if (options.sortKeys) entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
    const entry = ([key, item]: [Key, Value]): string =>
      jsonText(jsonKey(key), options) + keySeparator + toJson(item, options, budget, level + 1)
    return budget.nested(() => wrap('{', written(entries, entry, budget), '}'))
  }
  if (typeof value === 'string') return budget.text(jsonText(value, options))
  if (value instanceof Callable) throw new TemplateFailure('value', `the function ${value.name} cannot be written as JSON`)
  return value === undefined ? 'null' : JSON.stringify(value)
}

function jsonKey(key: Key): string {
  return typeof key === 'string' ? key : JSON.stringify(key)
}

function jsonText(text: string, { asciiOnly = false }: JsonOptions): string {
  const json = JSON.stringify(text)
  return asciiOnly ? json.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`) : json
}

/** Plain data from outside as values. @throws reason "depth" */
export function fromData(data: unknown, depth: number): Value {
  if (depth < 0) throw new TemplateFailure('depth', 'what was passed to the template is nested too deeply')
  if (data === null || data === undefined) return data
  if (typeof data === 'string' || typeof data === 'number' || typeof data === 'boolean') return data
  if (typeof data === 'bigint') return Number(data)
  if (Array.isArray(data)) return data.map((item) => fromData(item, depth - 1))
  if (typeof data === 'object') return new Map(Object.entries(data).map(([key, item]) => [key, fromData(item, depth - 1)]))
  throw new TemplateFailure('value', `a ${typeof data} cannot be passed to a template`)
}
