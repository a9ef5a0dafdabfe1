/**
 * Lines of statements. The library's tokens and nodes have no positions, so a comment with the line is put in front of
 * every tag; the interpreter reads it in passing.
 *
 * The tags of the source are found by a small scanner. If their number is not that of the lexer's tags, lines stay
 * unknown: none is better than a wrong one.
 */
import type { LexerToken } from './template-ast.js'

const markPrefix = '\u0000line '
const openers: ReadonlySet<string> = new Set(['OpenStatement', 'OpenExpression', 'Comment'])

export function lineOfMark(comment: string): number | undefined {
  return comment.startsWith(markPrefix) ? Number(comment.slice(markPrefix.length)) : undefined
}

/** The tokens with a mark in front of every tag, and the line of the n-th of them. */
export interface MarkedTokens {
  readonly tokens: LexerToken[]
  lineAt(index: number): number | undefined
}

export function markLines(source: string, tokens: readonly LexerToken[]): MarkedTokens {
  const lines = tagLines(source)
  const tags = tokens.filter((token) => openers.has(token.type)).length
  const marked: LexerToken[] = []
  const lineOf: (number | undefined)[] = []
  let tag = 0
  let line: number | undefined
  for (const token of tokens) {
    if (tags === lines.length && openers.has(token.type)) {
      line = lines[tag++]
      marked.push({ type: 'Comment', value: markPrefix + String(line) })
      lineOf.push(line)
    }
    marked.push(token)
    lineOf.push(line)
  }
  return { tokens: marked, lineAt: (index) => lineOf[index] ?? lineOf.at(-1) }
}

/** Line of each {% %}, {{ }} and {# #} but generation tags, which the lexer removes. */
function tagLines(source: string): number[] {
  const lines: number[] = []
  let line = 1
  let counted = 0
  for (let at = source.indexOf('{'); at >= 0; at = source.indexOf('{', at)) {
    const kind = source[at + 1]
    if (kind !== '%' && kind !== '{' && kind !== '#') {
      at++
      continue
    }
    for (; counted < at; counted++) if (source.charCodeAt(counted) === 0x0a) line++
    const end = kind === '#' ? endOfComment(source, at) : endOfTag(source, at + 2, kind === '%' ? '%}' : '}}')
    if (!/^\{%-?\s*(?:end)?generation\s*-?%\}$/.test(source.slice(at, Math.min(end, at + 64)))) lines.push(line)
    at = end
  }
  return lines
}

function endOfComment(source: string, at: number): number {
  const end = source.indexOf('#}', at + 2)
  return end < 0 ? source.length : end + 2
}

/** Quotes hide the end; so do braces of a dict. */
function endOfTag(source: string, at: number, end: string): number {
  let braces = 0
  while (at < source.length) {
    const c = source[at]!
    if (c === '"' || c === "'") {
      at++
      while (at < source.length && source[at] !== c) at += source[at] === '\\' ? 2 : 1
    } else if (braces === 0 && source.startsWith(end, at)) {
      return at + 2
    } else if (c === '{') {
      braces++
    } else if (c === '}' && braces > 0) {
      braces--
    }
    at++
  }
  return source.length
}
