/**
 * From tokens back to text, whole or as a stream.
 *
 * A stream never splits a character: bytes that may still become one are held back, and what cannot is one U+FFFD per
 * maximal invalid part, exactly as TextDecoder does. No clean-up of blanks before punctuation: text is what tokens say.
 */

export interface StreamDetokenizer {
  /** Text that is complete with this token; may be empty. */
  push(token: number): string
  /** The rest: an incomplete character becomes U+FFFD. The detokenizer starts anew. */
  end(): string
}

export interface DetokenizerOptions {
  /** Bytes of a token. */
  readonly bytes: (token: number) => Uint8Array
  /** Whether the token is shown at all. */
  readonly isShown: (token: number) => boolean
  /** SentencePiece puts one blank in front of a text; it is taken off the first shown token. */
  readonly stripFirstBlank: boolean
}

const none = new Uint8Array(0)

/** Not shared between streams. */
export function createStreamDetokenizer({ bytes, isShown, stripFirstBlank }: DetokenizerOptions): StreamDetokenizer {
  // ignoreBOM: a text may begin with U+FEFF, which is a character like any other here.
  let decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  let first = stripFirstBlank
  return {
    push(token) {
      if (!isShown(token)) return ''
      let piece = bytes(token)
      if (first && piece.length > 0) {
        first = false
        if (piece[0] === 0x20) piece = piece.subarray(1)
      }
      return decoder.decode(piece, { stream: true })
    },
    end() {
      const rest = decoder.decode(none)
      decoder = new TextDecoder('utf-8', { ignoreBOM: true })
      first = stripFirstBlank
      return rest
    },
  }
}
