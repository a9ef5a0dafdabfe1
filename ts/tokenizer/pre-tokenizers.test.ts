/**
 * What could break: a text is cut at another place than the model's regular expression cuts it, or a hostile text takes
 * quadratic time.
 * How we notice: the regular expressions themselves, run by the JavaScript engine, are the second implementation, on
 * texts of characters whose class the engine's Unicode version does not change; and every pre-tokenizer meets one
 * megabyte of each troublesome kind (class J4).
 */
import { describe, expect, test } from 'vitest'
import { createRandom, randomText } from '../../test/oracle/random-text.js'
import { cutWords, preTokenizers } from './pre-tokenizers.js'
import { classes, classTable, toCodeText } from './unicode-classes.js'

/** \s of the tokenizers: U+0085 is one, U+FEFF is none. */
const s = '\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const anyContraction = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
const blanks = `[${s}]*[\\r\\n]+|[${s}]+(?![^${s}])|[${s}]+`
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${s}\\p{L}\\p{N}]+|[${s}]+(?![^${s}])|[${s}]+`
const llama = (digits: string): string =>
  `${anyContraction}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n]*|${blanks}`
const upper = '(?:(?![a-z])\\p{L})'
const lower = '(?:(?![A-Z])\\p{L})'
const cased = (suffix: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}`
const deepseekMain = `[!-/:-@\\[-\`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${blanks}`

const expressions: ReadonlyMap<string, readonly string[]> = new Map([
  ['default', ['[\\p{P}$+<=>^~|]+', gpt2, '\\p{N}+', '[0-9][0-9][0-9]']],
  ['falcon', ['[\\p{P}$+<=>^~|`]+', gpt2, '[0-9][0-9][0-9]']],
  ['gpt-2', [gpt2]],
  ['starcoder', ['\\p{N}', gpt2]],
  ['llama-bpe', [llama('\\p{N}{1,3}')]],
  ['qwen2', [llama('\\p{N}')]],
  ['minicpm5', ['\\p{N}{1,3}', llama('\\p{N}+')]],
  ['laguna', ['[^\\n]+|[\\n]+', llama('\\p{N}')]],
  ['qwen35', [`${anyContraction}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^${s}\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${blanks}`]],
  ['gpt-4o', [`${cased(`${anyContraction}?`)}|\\p{N}{1,3}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n/]*|${blanks}`]],
  ['tekken', [`${cased('')}|\\p{N}| ?[^${s}\\p{L}\\p{N}]+[\\r\\n/]*|${blanks}`]],
  ['deepseek-v3', ['\\p{N}{1,3}', '[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+', deepseekMain]],
  ['deepseek-coder', ['[\\r\\n]', `[${s}]?\\p{L}+`, `[${s}]?\\p{P}+`, `(?:(?![${s}])[\\u0800-\\u9fa5\\uac00-\\ud7ff])+`, '\\p{N}']],
  ['seed-coder', [`${anyContraction}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^${s}\\p{L}\\p{N}\\r\\n]+|${blanks}`]],
  ['bloom', [` ?[^(${s}|.,!?…。，、।۔،)]+`]],
])

/** Pieces of `text`: matches and what lies between them, one expression after the other. */
function cutByExpressions(text: string, sources: readonly string[]): string[] {
  let pieces = [text]
  for (const source of sources) {
    pieces = pieces.flatMap((piece) => {
      const finer: string[] = []
      let at = 0
      for (const match of piece.matchAll(new RegExp(source, 'gu'))) {
        if (match.index > at) finer.push(piece.slice(at, match.index))
        finer.push(match[0])
        at = match.index + match[0].length
      }
      if (at < piece.length) finer.push(piece.slice(at))
      return finer
    })
  }
  return pieces
}

function cut(text: string, name: string): string[] {
  const characters = Array.from(text)
  let from = 0
  return Array.from(cutWords(toCodeText(text), preTokenizers.get(name)!.stages), (to) => {
    const piece = characters.slice(from, to).join('')
    from = to
    return piece
  })
}

/** Only characters that our table knows and the engine puts into the same class. */
function undisputed(text: string): string {
  const table = classTable()
  return Array.from(text).filter((c) => {
    const kind = table[c.codePointAt(0)!]
    if (kind === classes.space) return true
    const engine = /\p{L}/u.test(c) ? classes.letter : /\p{N}/u.test(c) ? classes.number : /\p{M}/u.test(c) ? classes.mark
      : /\p{P}/u.test(c) ? classes.punctuation : /\p{S}/u.test(c) ? classes.symbol : classes.other
    return kind === engine
  }).join('')
}

describe('pre-tokenizers', () => {
  test.each([...expressions.keys()])('%s cuts as its regular expressions do', (name) => {
    const random = createRandom(name.length)
    for (let i = 0; i < 3000; i++) {
      const text = undisputed(randomText(random, ['<|end|>']))
      expect(cut(text, name), JSON.stringify(text)).toEqual(cutByExpressions(text, expressions.get(name)!))
    }
  })

  test('numbers in threes from the right keep what precedes them', () => {
    expect(cut('ab1234567, 12 ', 'tiny_aya')).toEqual(['ab', '1', '234', '567', ',', ' ', '12', ' '])
  })

  const troubles: ReadonlyMap<string, string> = new Map([
    ['blanks', ' '], ['blanks and a letter', `${' '.repeat(63)}x`], ['line breaks', '\r\n '], ['digits', '7'], ['letters', 'a'],
    ['capitals', 'A'], ['É and capitals', 'ÉAAAAAAA'], ['marks', '\u0301'], ['scripts', 'aяक你ﺀ😀 '], ['apostrophes', "'"],
    ['punctuation', '.,!?'], ['tabs', '\t\t'], ['Han', '漢'],
  ])
  /** One name of each; aliases share the rules. */
  const distinct = new Map([...preTokenizers].map(([name, rules]) => [rules, name] as const))

  test.each([...distinct.values()])('%s is linear (J4)', (name) => {
    const { stages } = preTokenizers.get(name)!
    for (const [trouble, unit] of troubles) {
      const bestOf = (tries: number, units: number): number => {
        const text = toCodeText(unit.repeat(Math.ceil(units / unit.length)).slice(0, units))
        let best = Infinity
        for (let i = 0; i < tries; i++) {
          const start = process.cpuUsage()
          cutWords(text, stages)
          const { user, system } = process.cpuUsage(start)
          best = Math.min(best, (user + system) / 1000)
        }
        return best
      }
      const small = bestOf(8, 1 << 16)
      const large = bestOf(3, 1 << 20)
      // Sixteen times the text takes 16 times as long when linear, 256 times when quadratic; between them a busy machine has
      // room. Processor time, as other programs run beside. Below 4 ms it is noise.
      expect(large / Math.max(small, 4), `${trouble}: ${small} ms, then ${large} ms`).toBeLessThan(64)
    }
  })
})
