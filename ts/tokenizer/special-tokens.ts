/**
 * Finds special tokens in a text before the rest is tokenized: control tokens where the caller allows them, tokens the
 * model's maker defined always.
 *
 * Order, as in llama.cpp: longer texts (in bytes) first, over the whole text; among equals the smaller id; from left to
 * right. A found token takes its characters away from shorter ones. Cost: linear in the text for each special token
 * that occurs in it.
 */
import { tokenKinds, type Vocabulary } from './vocabulary.js'

/** A stretch of the text: plain, or one special token. */
export type Fragment = { readonly from: number; readonly to: number } | { readonly token: number }

export interface SpecialTokens {
  /** Cuts `text` into fragments, in order. Without `control`, control and unknown tokens stay plain text. */
  partition(text: string, control: boolean): Fragment[]
}

/** Whether whitespace next to a special token belongs to it. Not stored in files; known by the model's name. */
export interface StripRules {
  readonly left: ReadonlySet<number>
  readonly right: ReadonlySet<number>
}

interface Special {
  readonly token: number
  readonly text: string
  readonly bytes: number
  readonly always: boolean
}

interface TrieNode {
  readonly next: Map<number, TrieNode>
  /** Position in the order of taking, -1 where no text ends. */
  rank: number
}

interface Piece {
  readonly from: number
  readonly to: number
  /** -1 for plain text. */
  readonly token: number
}

export function createSpecialTokens(vocabulary: Vocabulary, strip: StripRules): SpecialTokens {
  const specials = listSpecials(vocabulary)
  const root: TrieNode = { next: new Map(), rank: -1 }
  specials.forEach((special, rank) => insert(root, special.text, rank))
  return {
    partition(text, control) {
      if (text.length === 0) return []
      let pieces: Piece[] = [{ from: 0, to: text.length, token: -1 }]
      for (const rank of occurring(root, text)) {
        const special = specials[rank]!
        if (control || special.always) pieces = takeOut(text, pieces, special, strip)
      }
      return pieces.map(({ from, to, token }) => (token < 0 ? { from, to } : { token }))
    },
  }
}

/** In the order of taking. Of tokens with the same text, the first. */
function listSpecials({ texts, kinds, nVocab }: Vocabulary): Special[] {
  const specials = new Map<string, Special>()
  for (let token = 0; token < nVocab; token++) {
    const kind = kinds[token]
    const always = kind === tokenKinds.userDefined
    if (!always && kind !== tokenKinds.control && kind !== tokenKinds.unknown) continue
    const bytes = texts.bytes(token).length
    const text = texts.text(token)
    if (bytes > 0 && !specials.has(text)) specials.set(text, { token, text, bytes, always })
  }
  return [...specials.values()].sort((a, b) => b.bytes - a.bytes || a.token - b.token)
}

function insert(root: TrieNode, text: string, rank: number): void {
  let node = root
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    let child = node.next.get(unit)
    if (!child) node.next.set(unit, (child = { next: new Map(), rank: -1 }))
    node = child
  }
  node.rank = rank
}

/** Ranks of the special tokens whose text occurs at all, ascending: usually few of thousands. */
function occurring(root: TrieNode, text: string): number[] {
  const ranks = new Set<number>()
  for (let at = 0; at < text.length; at++) {
    let node = root.next.get(text.charCodeAt(at))
    for (let i = at + 1; node; i++) {
      if (node.rank >= 0) ranks.add(node.rank)
      node = i < text.length ? node.next.get(text.charCodeAt(i)) : undefined
    }
  }
  return [...ranks].sort((a, b) => a - b)
}

/** Replaces the token's text by the token in all plain pieces. The search only moves forward: linear in the text. */
function takeOut(text: string, pieces: readonly Piece[], special: Special, strip: StripRules): Piece[] {
  const result: Piece[] = []
  const length = special.text.length
  const stripLeft = strip.left.has(special.token)
  const stripRight = strip.right.has(special.token)
  let found = text.indexOf(special.text)
  for (const piece of pieces) {
    if (piece.token >= 0) {
      result.push(piece)
      continue
    }
    let from = piece.from
    while (from < piece.to) {
      if (found >= 0 && found < from) found = text.indexOf(special.text, from)
      if (found < 0 || found + length > piece.to) break
      let end = found
      if (stripLeft) while (end > from && isAsciiBlank(text.charCodeAt(end - 1))) end--
      if (end > from) result.push({ from, to: end, token: -1 })
      result.push({ from: found, to: found + length, token: special.token })
      from = found + length
      if (stripRight) while (from < piece.to && isAsciiBlank(text.charCodeAt(from))) from++
    }
    if (from < piece.to) result.push({ from, to: piece.to, token: -1 })
  }
  return result
}

function isAsciiBlank(unit: number): boolean {
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d)
}

/** Phi-3's special tokens swallow the whitespace behind them; other models with such rules are embedding models. */
export function stripRulesFor(modelName: string | undefined, { texts, kinds, nVocab }: Vocabulary): StripRules {
  const right = new Set<number>()
  if (/phi-?3/i.test(modelName ?? '')) {
    const never = new Set(['<unk>', '<s>', '<|endoftext|>'])
    for (let token = 0; token < nVocab; token++) {
      const kind = kinds[token]
      const special = kind === tokenKinds.control || kind === tokenKinds.unknown || kind === tokenKinds.userDefined
      if ((special && !never.has(texts.text(token))) || texts.text(token) === '</s>') right.add(token)
    }
  }
  return { left: new Set(), right }
}
