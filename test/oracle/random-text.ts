/**
 * Random texts that hurt tokenizers: words, contractions, digits, whitespace of all kinds, scripts of all planes, marks,
 * emoji sequences and the texts of special tokens. Deterministic by seed. No lone surrogates: the peer takes UTF-8.
 */

/** A pseudo-random generator (mulberry32): next() in [0, 1). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const words = `the of and to in is you that it he was for on are as with his they I at be this have from or one had by word
but not what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people my than
first water been call who oil its now find long down day did get come made may part HTTPServer camelCase XMLHttpRequest
snake_case iPhone McDonald's don't WON'T I'LL they're You'Ve we'd it'S Ünïcödé naïve Straße ΑΒΓδε Привет МИР שלום مرحبا
नमस्ते สวัสดี 你好世界 こんにちは カタカナ 한국어 ﬁne ﬂow Ⅷ ½ ²³ ①②`.split(/\s+/)
const blanks = [' ', '  ', '   ', '\t', '\n', '\r\n', '\r', '\n\n', ' \n', '\n ', '\v', '\f', '\u0085', '\u00a0', '\u1680',
  '\u2003', '\u2028', '\u2029', '\u202f', '\u205f', '\u3000', '\u200b', '\ufeff', '        ', ' \t \n \n\n  ', '\u001c', '\u180e']
const punctuation = Array.from(`!"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~«»“”‘’…—–·¿¡。，、；：？！「」§¶†‡°±×÷€£¥₿©®™←→∑√∞≈≠▁Ġ`)
const emoji = ['😀', '👨‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇩🇪', '✌️', '❤️‍🔥', '🧑🏿‍🚀', '#️⃣']
const marks = ['\u0301', '\u0308', '\u0327', '\u093f', '\u0e31', '\u20dd', '\u200d', '\ufe0f', '\u064b']
const planes: readonly (readonly [number, number])[] = [
  [0x00, 0x7f], [0x80, 0x24f], [0x250, 0x52f], [0x530, 0x6ff], [0x700, 0x10ff], [0x1100, 0x1fff], [0x2000, 0x2bff],
  [0x2c00, 0x2fff], [0x3000, 0x33ff], [0x3400, 0x9fff], [0xa000, 0xd7ff], [0xe000, 0xffff], [0x10000, 0x1ffff],
  [0x20000, 0x323af], [0xe0000, 0xe01ef], [0xf0000, 0x10ffff],
]

/** One text of up to about 120 characters. @param specials texts to be strewn in */
export function randomText(random: () => number, specials: readonly string[]): string {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const parts = 1 + Math.floor(random() * 14)
  let text = ''
  for (let i = 0; i < parts; i++) {
    const kind = random()
    if (kind < 0.28) text += (random() < 0.7 ? ' ' : '') + pick(words)
    else if (kind < 0.4) text += pick(blanks)
    else if (kind < 0.5) text += repeat(pick(blanks), random, 6)
    else if (kind < 0.62) text += repeat(pick(punctuation), random, 4)
    else if (kind < 0.7) text += String(Math.floor(random() * 10 ** (1 + Math.floor(random() * 12))))
    else if (kind < 0.74) text += "'" + pick(['s', 't', 're', 've', 'm', 'll', 'd', 'S', 'RE', 'Ll', 'x', '', 'ſ', 'K'])
    else if (kind < 0.78) text += pick(emoji)
    else if (kind < 0.83) text += pick(words) + pick(marks) + (random() < 0.5 ? pick(marks) : '')
    else if (kind < 0.86 && specials.length > 0) text += pick(specials)
    else if (kind < 0.9) text += String.fromCodePoint(33 + Math.floor(random() * 94)) + String.fromCodePoint(33 + Math.floor(random() * 94))
    else text += codePoints(random, pick(planes))
  }
  return text
}

function repeat(text: string, random: () => number, most: number): string {
  return text.repeat(1 + Math.floor(random() * most))
}

function codePoints(random: () => number, [first, last]: readonly [number, number]): string {
  const count = 1 + Math.floor(random() * 5)
  let text = ''
  for (let i = 0; i < count; i++) text += String.fromCodePoint(first + Math.floor(random() * (last - first + 1)))
  return text
}
