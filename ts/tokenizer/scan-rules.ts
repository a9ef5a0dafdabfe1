/**
 * The building stones of pre-tokenizers: rules that match at one position, and stages that cut a text by them.
 *
 * Hand-written rather than RegExp, for three reasons: token ids must not depend on the engine's Unicode version, every
 * rule must be linear on hostile input, and \s of JavaScript is another set than that of the tokenizers.
 * Each rule is the meaning of one alternative of a regular expression, given above it, matched within [from, to).
 *
 * Pure.
 */
import type { NumberList } from './number-list.js'
import { classes, type CodeText } from './unicode-classes.js'

/** End of the match that begins at `at`, or -1. A match is never empty and never passes `to`. */
export type Rule = (text: CodeText, at: number, to: number) => number

/** Cuts [from, to) into pieces and appends the end of each to `ends`; the last end is `to`. */
export type Stage = (text: CodeText, from: number, to: number, ends: NumberList) => void

export interface CodeRange {
  readonly first: number
  readonly last: number
}

const { letter, number, mark, punctuation, symbol, space } = classes
const lineFeed = 0x0a
const carriageReturn = 0x0d
const blank = 0x20
const apostrophe = 0x27
const slash = 0x2f

/** Pieces are the matches of the first fitting rule, and what lies between two matches. */
export function alternatives(...rules: readonly Rule[]): Stage {
  return (text, from, to, ends) => {
    let unmatched = false
    for (let at = from; at < to; ) {
      let end = -1
      for (let r = 0; r < rules.length && end < 0; r++) end = rules[r]!(text, at, to)
      if (end < 0) {
        unmatched = true
        at++
        continue
      }
      if (unmatched) ends.push(at)
      unmatched = false
      ends.push(end)
      at = end
    }
    if (unmatched) ends.push(to)
  }
}

/** `\s+$`: cuts the blanks at the end off. */
export const blanksAtEnd: Stage = (text, from, to, ends) => {
  let start = to
  while (start > from && text.classes[start - 1] === space) start--
  if (start > from) ends.push(start)
  if (start < to) ends.push(to)
}

/** `[^\n]+|[\n]+` */
export const linesApart: Stage = (text, from, to, ends) => {
  for (let at = from + 1; at < to; at++) {
    if ((text.points[at] === lineFeed) !== (text.points[at - 1] === lineFeed)) ends.push(at)
  }
  if (to > from) ends.push(to)
}

/**
 * Numbers in groups of three from the right: 1234567 is 1 234 567. What precedes a number stays with its first group,
 * as llama.cpp cuts it ("ab1234" is "ab1", "234"); a later stage separates letters from digits.
 */
export const digitsFromTheRight: Stage = (text, from, to, ends) => {
  for (let at = from; at < to; ) {
    if (text.classes[at] !== number) {
      at++
      continue
    }
    const end = runOf(text, at, to, number)
    for (let cut = at + ((end - at) % 3 || 3); cut <= end; cut += 3) ends.push(cut)
    at = end
  }
  if (to > from && ends.last !== to) ends.push(to)
}

/** `'s|'t|'re|'ve|'m|'ll|'d`, in any letter case when `anyCase`. */
export function contraction(anyCase: boolean): Rule {
  const fold = anyCase ? 0x20 : 0
  return (text, at, to) => {
    if (text.points[at] !== apostrophe || at + 1 >= to) return -1
    const a = foldAscii(text.points[at + 1]!, fold)
    if (a === 0x73 || a === 0x74 || a === 0x6d || a === 0x64) return at + 2
    if (at + 2 >= to) return -1
    const b = foldAscii(text.points[at + 2]!, fold)
    return (a === 0x72 && b === 0x65) || (a === 0x76 && b === 0x65) || (a === 0x6c && b === 0x6c) ? at + 3 : -1
  }
}

function foldAscii(point: number, fold: number): number {
  return point >= 0x41 && point <= 0x5a ? point | fold : point
}

/** A run of one class behind an optional blank: ` ?\p{L}+`, ` ?\p{N}+`. */
export function blankThen(wanted: number): Rule {
  return (text, at, to) => {
    const start = text.points[at] === blank ? at + 1 : at
    return start < to && text.classes[start] === wanted ? runOf(text, start, to, wanted) : -1
  }
}

/** The same behind any optional whitespace: `\s?\p{L}+`. */
export function spaceThen(wanted: number): Rule {
  return (text, at, to) => {
    const start = text.classes[at] === space ? at + 1 : at
    return start < to && text.classes[start] === wanted ? runOf(text, start, to, wanted) : -1
  }
}

/** `[^\r\n\p{L}\p{N}]?\p{L}+`; with `marks`, `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+`. A `suffix` may follow. */
export function word(marks: boolean, suffix?: Rule): Rule {
  const isPart = (kind: number): boolean => kind === letter || (marks && kind === mark)
  return (text, at, to) => {
    const kind = text.classes[at]!
    let start = at
    if (mayPrecedeWord(text, at) && at + 1 < to && isPart(text.classes[at + 1]!)) start = at + 1
    else if (!isPart(kind)) return -1
    let end = start + 1
    while (end < to && isPart(text.classes[end]!)) end++
    return withSuffix(text, end, to, suffix)
  }
}

/**
 * `[^\r\n\p{L}\p{N}]?U*W+` or, failing that, `[^\r\n\p{L}\p{N}]?U+W*`, where U is a letter outside a-z and W a letter
 * outside A-Z: words are cut before a capital. "HelloWorld" is "Hello", "World". A `suffix` may follow.
 *
 * U* gives letters back until W+ has one, so the first form ends at the last letter of the run of U that is also a W
 * ("ÉAB" is "É", "AB"). Every run is scanned at most twice: what is given back is A-Z only and is one piece then.
 */
export function casedWord(suffix?: Rule): Rule {
  return (text, at, to) => {
    let start = at
    if (text.classes[at] !== letter) {
      if (!mayPrecedeWord(text, at) || at + 1 >= to || text.classes[at + 1] !== letter) return -1
      start = at + 1
    }
    let end = start
    let lastBoth = -1
    while (end < to && text.classes[end] === letter && !isLowerAscii(text.points[end]!)) {
      if (!isUpperAscii(text.points[end]!)) lastBoth = end
      end++
    }
    if (end < to && text.classes[end] === letter) {
      while (end < to && text.classes[end] === letter && !isUpperAscii(text.points[end]!)) end++
    } else if (lastBoth >= 0) {
      end = lastBoth + 1
    }
    return withSuffix(text, end, to, suffix)
  }
}

/** `[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` */
export const wordAfterNoPunctuation: Rule = (text, at, to) => {
  const kind = text.classes[at]!
  const isPart = (k: number): boolean => k === letter || k === mark
  const leads = kind !== letter && kind !== punctuation && kind !== symbol && !isLineBreak(text.points[at]!)
  let end = at
  if (leads && at + 1 < to && isPart(text.classes[at + 1]!)) end = at + 1
  else if (!isPart(kind)) return -1
  do end++
  while (end < to && isPart(text.classes[end]!))
  return end
}

/** One punctuation mark or symbol of ASCII, then `[A-Za-z]+`. */
export const punctuatedAsciiWord: Rule = (text, at, to) => {
  const kind = text.classes[at]
  if (text.points[at]! > 0x7e || (kind !== punctuation && kind !== symbol)) return -1
  let end = at + 1
  while (end < to && isAsciiLetter(text.points[end]!)) end++
  return end > at + 1 ? end : -1
}

/** `\p{N}{1,most}` */
export function digits(most: number): Rule {
  return (text, at, to) => {
    if (text.classes[at] !== number) return -1
    const limit = Math.min(to, at + most)
    return runOf(text, at, limit, number)
  }
}

/** `[0-9][0-9][0-9]` */
export const threeAsciiDigits: Rule = (text, at, to) =>
  at + 3 <= to && isAsciiDigit(text.points[at]!) && isAsciiDigit(text.points[at + 1]!) && isAsciiDigit(text.points[at + 2]!)
    ? at + 3
    : -1

export interface OtherRule {
  /** What may follow: nothing, `[\r\n]*` or `[\r\n/]*`. */
  readonly tail?: 'line-breaks' | 'line-breaks-and-slashes'
  /** `[^\s\p{L}\p{M}\p{N}]` instead of `[^\s\p{L}\p{N}]`. */
  readonly withoutMarks?: boolean
}

/** ` ?[^\s\p{L}\p{N}]+` with its tail. */
export function other(rule: OtherRule = {}): Rule {
  const isOther = (kind: number): boolean =>
    kind !== space && kind !== letter && kind !== number && !(rule.withoutMarks && kind === mark)
  return (text, at, to) => {
    let end = text.points[at] === blank ? at + 1 : at
    if (end >= to || !isOther(text.classes[end]!)) return -1
    while (end < to && isOther(text.classes[end]!)) end++
    return withTail(text, end, to, rule.tail)
  }
}

/** ` ?[\p{P}\p{S}]+[\r\n]*` */
export const punctuationOrSymbols: Rule = (text, at, to) => {
  let end = text.points[at] === blank ? at + 1 : at
  if (end >= to || !isPunctuationOrSymbol(text.classes[end]!)) return -1
  while (end < to && isPunctuationOrSymbol(text.classes[end]!)) end++
  return withTail(text, end, to, 'line-breaks')
}

/** A run of given characters: `[…]+`, behind `\s?` when `afterSpace`. */
export function runIn(ranges: readonly CodeRange[], { afterSpace = false }: { readonly afterSpace?: boolean } = {}): Rule {
  const contains = membership(ranges)
  return (text, at, to) => {
    let end = at
    if (afterSpace && text.classes[at] === space && at + 1 < to && contains(text, at + 1)) end = at + 1
    else if (!contains(text, at)) return -1
    while (end < to && contains(text, end)) end++
    return end
  }
}

/** A run of one class or of some ASCII characters: `[\p{P}$+<=>^~|]+`. */
export function runOfClassOr(wanted: number, also: string): Rule {
  const isPart = (text: CodeText, at: number): boolean =>
    text.classes[at] === wanted || (text.points[at]! < 0x80 && also.includes(String.fromCharCode(text.points[at]!)))
  return (text, at, to) => {
    let end = at
    while (end < to && isPart(text, end)) end++
    return end > at ? end : -1
  }
}

/** ` ?[^\s…]+`: a run of what is neither whitespace nor one of `stops`. */
export function runUntil(stops: string): Rule {
  const stop = new Set(Array.from(stops, (character) => character.codePointAt(0)!))
  const isPart = (text: CodeText, at: number): boolean => text.classes[at] !== space && !stop.has(text.points[at]!)
  return (text, at, to) => {
    let end = text.points[at] === blank ? at + 1 : at
    const start = end
    while (end < to && isPart(text, end)) end++
    return end > start ? end : -1
  }
}

/** `\s*[\r\n]+`: whitespace up to and with its last line break. */
export const lineBreaks: Rule = (text, at, to) => {
  let last = -1
  for (let i = at; i < to && text.classes[i] === space; i++) if (isLineBreak(text.points[i]!)) last = i
  return last + 1 || -1
}

/** `\s+(?!\S)|\s+`: whitespace; before something else, all but its last character, which may lead a word. */
export const spaces: Rule = (text, at, to) => {
  if (text.classes[at] !== space) return -1
  const end = runOf(text, at, to, space)
  return end < to && end - at > 1 ? end - 1 : end
}

/** One line break: `[\r\n]`. */
export const oneLineBreak: Rule = (text, at) => (isLineBreak(text.points[at]!) ? at + 1 : -1)

export function isLineBreak(point: number): boolean {
  return point === lineFeed || point === carriageReturn
}

export function runOf(text: CodeText, at: number, to: number, wanted: number): number {
  while (at < to && text.classes[at] === wanted) at++
  return at
}

/** `[^\r\n\p{L}\p{N}]` */
export function mayPrecedeWord(text: CodeText, at: number): boolean {
  const kind = text.classes[at]
  return kind !== letter && kind !== number && !isLineBreak(text.points[at]!)
}

export function withSuffix(text: CodeText, end: number, to: number, suffix: Rule | undefined): number {
  const longer = suffix && end < to ? suffix(text, end, to) : -1
  return longer < 0 ? end : longer
}

function withTail(text: CodeText, end: number, to: number, tail: OtherRule['tail']): number {
  if (!tail) return end
  const slashes = tail === 'line-breaks-and-slashes'
  while (end < to && (isLineBreak(text.points[end]!) || (slashes && text.points[end] === slash))) end++
  return end
}

/** Whitespace beyond ASCII is whitespace only: a range that spans U+3000 does not contain it. */
function membership(ranges: readonly CodeRange[]): (text: CodeText, at: number) => boolean {
  const sorted = [...ranges].sort((a, b) => a.first - b.first)
  const firsts = Uint32Array.from(sorted, (range) => range.first)
  const lasts = Uint32Array.from(sorted, (range) => range.last)
  for (let i = 1; i < lasts.length; i++) lasts[i] = Math.max(lasts[i]!, lasts[i - 1]!)
  return (text, at) => {
    const point = text.points[at]!
    if (point > 0x7f && text.classes[at] === space) return false
    let low = 0
    let high = firsts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (firsts[middle]! <= point) low = middle + 1
      else high = middle
    }
    return low > 0 && rangeContains(sorted, low, point, lasts[low - 1]!)
  }
}

/** Ranges may overlap: walks back while an earlier one could still reach `point`. */
function rangeContains(sorted: readonly CodeRange[], low: number, point: number, reach: number): boolean {
  if (point > reach) return false
  for (let i = low - 1; i >= 0; i--) if (sorted[i]!.last >= point) return true
  return false
}

function isPunctuationOrSymbol(kind: number): boolean {
  return kind === punctuation || kind === symbol
}

function isLowerAscii(point: number): boolean {
  return point >= 0x61 && point <= 0x7a
}

function isUpperAscii(point: number): boolean {
  return point >= 0x41 && point <= 0x5a
}

function isAsciiLetter(point: number): boolean {
  return isLowerAscii(point | 0x20) && point < 0x80
}

function isAsciiDigit(point: number): boolean {
  return point >= 0x30 && point <= 0x39
}
