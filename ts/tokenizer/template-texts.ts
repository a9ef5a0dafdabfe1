/** Python's operations on texts that JavaScript has not, or has with another meaning. Sizes are checked beforehand. */
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'

const whitespace = /[\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

export type Side = 'left' | 'right' | 'both'

/** strip(): whitespace, or any of the given characters, at one or both ends. */
export function strip(text: string, characters: string | undefined, side: Side): string {
  const set = characters === undefined ? undefined : new Set(characters)
  const isStripped = (c: string): boolean => (set ? set.has(c) : whitespace.test(c))
  let from = 0
  let to = text.length
  if (side !== 'right') while (from < to && isStripped(text[from]!)) from++
  if (side !== 'left') while (to > from && isStripped(text[to - 1]!)) to--
  return text.slice(from, to)
}

/** split() and rsplit(): at whitespace runs without a separator; at most `most` cuts when it is not negative. */
export function split(text: string, separator: string | undefined, most: number, fromRight: boolean, budget: Budget): string[] {
  if (separator === '') throw new TemplateFailure('value', 'split() with an empty separator')
  const parts = separator === undefined ? splitAtBlanks(text, most, fromRight, budget) : splitAt(text, separator, most, fromRight, budget)
  budget.listOf(parts.length)
  return parts
}

function splitAt(text: string, separator: string, most: number, fromRight: boolean, budget: Budget): string[] {
  const cuts: number[] = []
  const step = separator.length
  if (fromRight) {
    for (let at = text.length; cuts.length !== most; ) {
      const found = at - step < 0 ? -1 : text.lastIndexOf(separator, at - step)
      if (found < 0) break
      cuts.push((at = found))
      if ((cuts.length & 1023) === 0) budget.listOf(cuts.length)
    }
    cuts.reverse()
  } else {
    for (let at = 0; cuts.length !== most; ) {
      const found = text.indexOf(separator, at)
      if (found < 0) break
      cuts.push(found)
      at = found + step
      if ((cuts.length & 1023) === 0) budget.listOf(cuts.length)
    }
  }
  const parts: string[] = []
  let from = 0
  for (const cut of cuts) {
    parts.push(text.slice(from, cut))
    from = cut + step
  }
  parts.push(text.slice(from))
  return parts
}

function splitAtBlanks(text: string, most: number, fromRight: boolean, budget: Budget): string[] {
  const words: [number, number][] = []
  for (let at = 0; at < text.length; ) {
    while (at < text.length && whitespace.test(text[at]!)) at++
    const from = at
    while (at < text.length && !whitespace.test(text[at]!)) at++
    if (at > from) words.push([from, at])
    if ((words.length & 1023) === 0) budget.listOf(words.length)
  }
  const parts = words.map(([from, to]) => text.slice(from, to))
  if (most < 0 || parts.length <= most + 1) return parts
  if (fromRight) {
    const [, end] = words[words.length - most - 1]!
    return [text.slice(words[0]![0], end), ...parts.slice(parts.length - most)]
  }
  return [...parts.slice(0, most), strip(text.slice(words[most]![0]), undefined, 'right')]
}

/** replace(): the first `count` occurrences, all when it is negative. */
export function replace(text: string, old: string, by: string, count: number, budget: Budget): string {
  if (old === '') return replaceBetween(text, by, count, budget)
  const parts: string[] = []
  let from = 0
  let units = text.length
  for (let done = 0; done !== count; done++) {
    const found = text.indexOf(old, from)
    if (found < 0) break
    units += by.length - old.length
    budget.textOf(units)
    parts.push(text.slice(from, found), by)
    from = found + old.length
  }
  budget.step(parts.length >> 4)
  return from === 0 ? text : parts.join('') + text.slice(from)
}

/** Replacing nothing puts `by` before each character and at the end. */
function replaceBetween(text: string, by: string, count: number, budget: Budget): string {
  const characters = Array.from(text)
  const places = count < 0 ? characters.length + 1 : Math.min(count, characters.length + 1)
  budget.textOf(text.length + places * by.length)
  const head = characters.slice(0, places).map((c) => by + c).join('')
  return places > characters.length ? head + by : head + characters.slice(places).join('')
}

export function repeat(text: string, count: number, budget: Budget): string {
  const times = Math.max(0, Math.floor(count))
  budget.textOf(text.length * times)
  return text.repeat(times)
}

/** The indent filter: every line but the first and empty ones. */
export function indent(text: string, by: string, first: boolean, blank: boolean, budget: Budget): string {
  const lines = split(text, '\n', -1, false, budget)
  budget.textOf(text.length + lines.length * by.length)
  return lines.map((line, i) => ((i > 0 || first) && (blank || line !== '') ? by + line : line)).join('\n')
}

/** Every run of letters with one capital in front. */
export function title(text: string): string {
  return text.toLowerCase().replace(/\p{L}+/gu, (run) => capitalize(run))
}

export function capitalize(text: string): string {
  const [first = ''] = text
  return first.toUpperCase() + text.slice(first.length).toLowerCase()
}

export function splitLines(text: string, budget: Budget): string[] {
  const lines = text.split(/\r\n|[\n\r\v\f\u001c-\u001e\u0085\u2028\u2029]/)
  if (lines.at(-1) === '') lines.pop()
  budget.listOf(lines.length)
  return lines
}

/** Length in characters. */
export function characterCount(text: string): number {
  let pairs = 0
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >> 10 === 0x36 && text.charCodeAt(i + 1) >> 10 === 0x37) pairs++
  return text.length - pairs
}
