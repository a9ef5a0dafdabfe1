/**
 * Methods of texts, lists and dicts (`text.split(',')`, `dict.items()`), and text formatting. Each gets the value, the
 * arguments and the budget. Tables are Maps: names come from templates.
 */
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'
import { characterCount, repeat, replace, split, splitLines, strip, title, capitalize, type Side } from './template-texts.js'
import { equals, joined, toText, typeName, type Dict, type Key, type Keywords, type Value } from './template-values.js'

type Method<T> = (self: T, args: readonly Value[], keywords: Keywords, budget: Budget) => Value

/** The result of self.name(args); undefined as the second element when there is no such method. */
export function callMethod(
  self: Value, name: string, args: readonly Value[], keywords: Keywords, budget: Budget,
): { readonly result: Value } | undefined {
  const method = findMethod(self, name)
  return method && { result: method(self, args, keywords, budget) }
}

export function hasMethod(self: Value, name: string): boolean {
  return findMethod(self, name) !== undefined
}

function findMethod(self: Value, name: string): Method<Value> | undefined {
  if (typeof self === 'string') return textMethods.get(name) as Method<Value> | undefined
  if (Array.isArray(self)) return listMethods.get(name) as Method<Value> | undefined
  if (self instanceof Map) return dictMethods.get(name) as Method<Value> | undefined
  return undefined
}

const stripOn = (side: Side): Method<string> => (self, [characters]) => strip(self, optionalText(characters), side)
const splitFrom = (right: boolean): Method<string> => (self, args, keywords, budget) =>
  split(self, optionalText(args[0] ?? keywords.get('sep')), integer(args[1] ?? keywords.get('maxsplit') ?? -1), right, budget)
const matches = (pattern: RegExp): Method<string> => (self) => pattern.test(self)
const affix = (test: (self: string, part: string) => boolean): Method<string> => (self, [part]) =>
  Array.isArray(part) ? part.some((one) => test(self, text(one))) : test(self, text(part))
const padded = (place: 'left' | 'right' | 'center'): Method<string> => (self, [width, fill = ' '], _keywords, budget) => {
  const missing = Math.max(0, integer(width) - characterCount(self))
  const left = place === 'left' ? 0 : place === 'right' ? missing : Math.floor(missing / 2)
  return repeat(text(fill), left, budget) + self + repeat(text(fill), missing - left, budget)
}

const textMethods: ReadonlyMap<string, Method<string>> = new Map<string, Method<string>>([
  ['upper', (self) => self.toUpperCase()],
  ['lower', (self) => self.toLowerCase()],
  ['casefold', (self) => self.toLowerCase()],
  ['title', (self) => title(self)],
  ['capitalize', (self) => capitalize(self)],
  ['strip', stripOn('both')],
  ['lstrip', stripOn('left')],
  ['rstrip', stripOn('right')],
  ['split', splitFrom(false)],
  ['rsplit', splitFrom(true)],
  ['splitlines', (self, _args, _keywords, budget) => splitLines(self, budget)],
  ['partition', (self, [separator], _keywords, budget) => partition(self, text(separator), budget)],
  ['startswith', affix((self, part) => self.startsWith(part))],
  ['endswith', affix((self, part) => self.endsWith(part))],
  ['removeprefix', (self, [part]) => (self.startsWith(text(part)) ? self.slice(text(part).length) : self)],
  ['removesuffix', (self, [part]) => (self.endsWith(text(part)) && part !== '' ? self.slice(0, -text(part).length) : self)],
  ['replace', (self, args, keywords, budget) =>
    replace(self, text(args[0]), text(args[1]), integer(args[2] ?? keywords.get('count') ?? -1), budget)],
  ['join', (self, [items], _keywords, budget) => joined(list(items).map((item) => toText(item, budget)), self, budget)],
  ['find', (self, [part]) => self.indexOf(text(part))],
  ['rfind', (self, [part]) => self.lastIndexOf(text(part))],
  ['count', (self, [part], _keywords, budget) => split(self, text(part), -1, false, budget).length - 1],
  ['format', (self, args, keywords, budget) => formatBraces(self, args, keywords, budget)],
  ['ljust', padded('left')],
  ['rjust', padded('right')],
  ['center', padded('center')],
  ['zfill', (self, [width], _keywords, budget) => repeat('0', integer(width) - self.length, budget) + self],
  ['isdigit', matches(/^\p{Nd}+$/u)],
  ['isnumeric', matches(/^\p{N}+$/u)],
  ['isdecimal', matches(/^\p{Nd}+$/u)],
  ['isalpha', matches(/^\p{L}+$/u)],
  ['isalnum', matches(/^[\p{L}\p{N}]+$/u)],
  ['isspace', matches(/^\s+$/)],
  ['isupper', (self) => self === self.toUpperCase() && self !== self.toLowerCase()],
  ['islower', (self) => self === self.toLowerCase() && self !== self.toUpperCase()],
])

const listMethods: ReadonlyMap<string, Method<Value[]>> = new Map<string, Method<Value[]>>([
  ['append', (self, [item], _keywords, budget) => {
    budget.listOf(self.length + 1)
    self.push(item)
    return null
  }],
  ['extend', (self, [items], _keywords, budget) => {
    const more = list(items).slice()
    budget.listOf(self.length + more.length)
    for (const item of more) self.push(item)
    return null
  }],
  ['insert', (self, [at, item], _keywords, budget) => {
    budget.listOf(self.length + 1)
    self.splice(integer(at), 0, item)
    return null
  }],
  ['pop', (self, [at = -1]) => self.splice(integer(at), 1)[0]],
  ['copy', (self) => self.slice()],
  ['reverse', (self) => {
    self.reverse()
    return null
  }],
  ['index', (self, [item], _keywords, budget) => {
    const at = self.findIndex((one) => equals(one, item, budget))
    if (at < 0) throw new TemplateFailure('value', 'index() of something that is not in the list')
    return at
  }],
  ['count', (self, [item], _keywords, budget) => self.filter((one) => equals(one, item, budget)).length],
])

const dictMethods: ReadonlyMap<string, Method<Dict>> = new Map<string, Method<Dict>>([
  ['get', (self, [key, otherwise = null]) => self.get(dictKey(key)) ?? (self.has(dictKey(key)) ? null : otherwise)],
  ['items', (self) => [...self].map(([key, value]) => [key, value])],
  ['keys', (self) => [...self.keys()]],
  ['values', (self) => [...self.values()]],
  ['copy', (self) => new Map(self)],
  ['pop', (self, [key, otherwise = null]) => {
    const value = self.get(dictKey(key)) ?? otherwise
    self.delete(dictKey(key))
    return value
  }],
  ['setdefault', (self, [key, otherwise = null], _keywords, budget) => {
    if (!self.has(dictKey(key))) self.set(dictKey(key), otherwise)
    budget.listOf(self.size)
    return self.get(dictKey(key))
  }],
  ['update', (self, [more], keywords, budget) => {
    if (more instanceof Map) for (const [key, value] of more) self.set(key, value)
    for (const [key, value] of keywords) self.set(key, value)
    budget.listOf(self.size)
    return null
  }],
])

/** Keys are texts, numbers, booleans or None. Whole numbers and their booleans are not unified as Python does. */
export function dictKey(key: Value): Key {
  if (key === null || typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean') return key
  throw new TemplateFailure('value', `${typeName(key)} cannot be the key of a dict`)
}

export function text(value: Value): string {
  if (typeof value !== 'string') throw new TemplateFailure('value', `a text is wanted, this is ${typeName(value)}`)
  return value
}

export function integer(value: Value): number {
  if (typeof value === 'boolean') return Number(value)
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new TemplateFailure('value', `a whole number is wanted, this is ${typeName(value)}`)
  return value
}

export function list(value: Value): Value[] {
  if (!Array.isArray(value)) throw new TemplateFailure('value', `a list is wanted, this is ${typeName(value)}`)
  return value
}

function optionalText(value: Value): string | undefined {
  return value === undefined || value === null ? undefined : text(value)
}

function partition(self: string, separator: string, budget: Budget): Value[] {
  const parts = split(self, separator, 1, false, budget)
  return parts.length === 2 ? [parts[0]!, separator, parts[1]!] : [self, '', '']
}

/** str.format: {}, {0}, {name}, doubled braces. Format specifications are not read. */
function formatBraces(format: string, args: readonly Value[], keywords: Keywords, budget: Budget): string {
  let next = 0
  let units = format.length
  return format.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, field: string | undefined) => {
    if (field === undefined) return whole[0]!
    if (!/^\w*$/.test(field)) throw new TemplateFailure('missing-feature', `format field {${field.slice(0, 40)}}`)
    const value = field === '' ? args[next++] : /^\d+$/.test(field) ? args[Number(field)] : keywords.get(field)
    const shown = toText(value, budget)
    budget.textOf((units += shown.length))
    return shown
  })
}

/** The % operator on texts: %s, %d, %f with digits, %%. */
export function formatPercent(format: string, argument: Value, budget: Budget): string {
  const args = Array.isArray(argument) ? argument : [argument]
  let next = 0
  let units = format.length
  return format.replace(/%(?:\.(\d{1,2}))?([a-zA-Z%])/g, (whole, digits: string | undefined, kind: string) => {
    if (kind === '%') return '%'
    const value = args[next++]
    const shown = percentText(kind, digits, value, budget)
    if (shown === undefined) throw new TemplateFailure('missing-feature', `format ${whole}`)
    budget.textOf((units += shown.length))
    return shown
  })
}

function percentText(kind: string, digits: string | undefined, value: Value, budget: Budget): string | undefined {
  if (kind === 's') return toText(value, budget)
  if (kind === 'd' || kind === 'i') return String(Math.trunc(Number(value)))
  if (kind === 'f') return Number(value).toFixed(digits === undefined ? 6 : Number(digits))
  return undefined
}
