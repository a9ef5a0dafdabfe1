/**
 * What could break: a stop string is missed across chunks, text of one is shown, text is held back for ever or lost.
 * How we notice: a search over the whole text is the second implementation, for random strings and random cuts.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StopStrings } from './stop-strings.js'

const letters = fc.stringMatching(/^[ab]*$/)

/** Whole text: the match that ends first, the longest of those that end there. */
function naive(text: string, stops: readonly string[]): { text: string; matched: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0]
    if (found !== undefined) return { text: text.slice(0, end - found.length), matched: found }
  }
  return { text, matched: undefined }
}

describe('stop strings', () => {
  test('equal the search over the whole text, however it is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 5 }), { maxLength: 4 }), fc.array(letters, { maxLength: 12 }), (stops, chunks) => {
        const matcher = new StopStrings(stops)
        let shown = ''
        let matched: string | undefined
        for (const chunk of chunks) {
          const result = matcher.push(chunk)
          shown += result.text
          matched = result.matched
          if (matched !== undefined) break
        }
        if (matched === undefined) shown += matcher.end()
        expect({ text: shown, matched }).toEqual(naive(chunks.join(''), stops))
      }),
      { numRuns: 2000 },
    )
  })

  test('only what may still become a stop string is held back', () => {
    const matcher = new StopStrings(['</end>'])
    expect(matcher.push('a <').text).toBe('a ')
    expect(matcher.push('b </e').text).toBe('<b ')
    expect(matcher.push('nd').text).toBe('')
    expect(matcher.push('> more')).toEqual({ text: '', matched: '</end>' })
    expect(matcher.push('more')).toEqual({ text: '', matched: '</end>' })
  })

  test('one megabyte that nearly matches all the time, in chunks of one, takes no quadratic time', () => {
    const matcher = new StopStrings(['a'.repeat(256) + 'b', 'ab'.repeat(100)])
    const start = performance.now()
    let shown = 0
    for (let i = 0; i < 1 << 20; i++) shown += matcher.push('a').text.length
    expect(shown + matcher.end().length).toBe(1 << 20)
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  test('an empty stop string is refused', () => {
    expect(() => new StopStrings(['x', ''])).toThrowError(expect.objectContaining({ code: 'ERR_HYPURA_INVALID_ARGUMENT' }))
  })
})
