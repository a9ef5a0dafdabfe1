/**
 * Keeps control tokens out of what people write: a message that spells "<|im_end|>" stays text, through any template.
 *
 * A template is a program that moves message text around, so afterwards nobody can tell whose characters are whose. Before
 * it runs, the first character of every control token's text inside a message is replaced by a noncharacter of Unicode
 * (U+FDD0 and on, which no text may carry); control tokens are then found in the rendered text, the messages' own ones are
 * not among them, and the guards are turned back in what is left.
 */
import type { Tokenizer } from './tokenizer.js'

const firstGuard = 0xfdd0
const guardsMax = 32
const nothing: ReadonlySet<string> = new Set()
const guardPattern = /[\ufdd0-\ufdef]/g

export interface TextGuard {
  /** `value` with every string in it guarded, but for the texts in `except`; other values as they are. */
  guard<T>(value: T, except?: ReadonlySet<string>): T
  restore(plain: string): string
}

export function createTextGuard(tokenizer: Tokenizer): TextGuard {
  const texts = controlTexts(tokenizer)
  const firsts = [...new Set(texts.map((text) => [...text][0]!))].slice(0, guardsMax)
  const guardOf = new Map(firsts.map((first, i) => [first, String.fromCharCode(firstGuard + i)]))
  const guardText = (text: string, except: ReadonlySet<string>): string => {
    // A stray noncharacter would be turned into something else on the way back.
    let guarded = text.replace(guardPattern, '\ufffd')
    for (const control of texts) {
      if (except.has(control) || !guarded.includes(control)) continue
      const [first] = [...control]
      guarded = guarded.replaceAll(control, () => (guardOf.get(first!) ?? '\ufffd') + control.slice(first!.length))
    }
    return guarded
  }
  return {
    guard: (value, except = nothing) => mapStrings(value, (text) => guardText(text, except)),
    restore: (plain) => plain.replace(guardPattern, (guard) => firsts[guard.charCodeAt(0) - firstGuard] ?? '\ufffd'),
  }
}

/** Longest first, so that a text inside another one does not hide it. */
function controlTexts(tokenizer: Tokenizer): string[] {
  const decoder = new TextDecoder()
  const texts: string[] = []
  for (let id = 0; id < tokenizer.nVocab; id++) {
    if (tokenizer.isControl(id)) texts.push(decoder.decode(tokenizer.tokenBytes(id)))
  }
  return texts.filter((text) => text !== '').sort((a, b) => b.length - a.length)
}

function mapStrings<T>(value: T, map: (text: string) => string): T {
  if (typeof value === 'string') return map(value) as T
  if (Array.isArray(value)) return value.map((item: unknown) => mapStrings(item, map)) as T
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapStrings<unknown>(item, map)])) as T
  }
  return value
}
