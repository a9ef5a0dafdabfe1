/**
 * What could break: a damaged or hostile vocabulary is accepted and garbles texts, or is refused without saying where;
 * a strict check refuses a file that is odd but legal.
 * How we notice: one patch of a valid vocabulary per class T1 to T8, each with its code and rule; the odd ones load.
 */
import { describe, expect, test } from 'vitest'
import { bpeValues, metadataOf, spmValues, type Plain } from './metadata.test.helper.js'
import { createTokenizer } from './tokenizer.js'

const bpe = bpeValues(['h e', 'he y'], 'gpt-2')
const spm = spmValues(['▁', 'h', 'i', '▁h', '▁hi'])
const count = (spm['tokenizer.ggml.tokens'] as readonly string[]).length
const withToken = (values: Record<string, Plain | undefined>, id: number, text: string): readonly string[] =>
  (values['tokenizer.ggml.tokens'] as readonly string[]).with(id, text)
const key = (name: string): string => `tokenizer.ggml.${name}`

function refusal(values: Record<string, Plain | undefined>): unknown {
  try {
    createTokenizer(metadataOf(values))
  } catch (error) {
    return error
  }
  return undefined
}

describe('damaged vocabularies', () => {
  const corrupt: readonly (readonly [string, string | undefined, Record<string, Plain | undefined>])[] = [
    ['T1: no tokens', 'T1', { ...bpe, [key('tokens')]: undefined }],
    ['T1: empty list', 'T1', { ...bpe, [key('tokens')]: [] }],
    ['T1: bytes instead of tokens', undefined, { ...bpe, [key('tokens')]: new Uint8Array(4) }],
    ['T2: types too short', 'T2', { ...bpe, [key('token_type')]: new Int32Array(3) }],
    ['T2: types too long', 'T2', { ...spm, [key('token_type')]: new Int32Array(count + 1).fill(1) }],
    ['T2: types as u8', 'T2', { ...spm, [key('token_type')]: new Uint8Array(count) }],
    ['T2: types as i8', 'T2', { ...spm, [key('token_type')]: new Int8Array(count) }],
    ['T2: scores missing', 'T2', { ...spm, [key('scores')]: undefined }],
    ['T2: scores too short', 'T2', { ...spm, [key('scores')]: new Float32Array(count - 1) }],
    ['T2: scores too long', 'T2', { ...spm, [key('scores')]: new Float32Array(count + 1) }],
    ['T2: scores as u8', 'T2', { ...spm, [key('scores')]: new Uint8Array(count) }],
    ['T2: scores as i8', 'T2', { ...spm, [key('scores')]: new Int8Array(count) }],
    ['T2: a score is NaN', 'T2', { ...spm, [key('scores')]: new Float32Array(count).fill(NaN, 5, 6) }],
    ['T2: a score is infinite', 'T2', { ...spm, [key('scores')]: new Float32Array(count).fill(Infinity, 5, 6) }],
    ...['bos', 'eos', 'eot', 'eom', 'unknown', 'padding'].flatMap((name) => [
      [`T3: ${name} beyond the list`, 'T3', { ...spm, [key(`${name}_token_id`)]: count }] as const,
      [`T3: ${name} is 2^32 - 1`, 'T3', { ...spm, [key(`${name}_token_id`)]: 0xffff_ffff }] as const,
      [`T3: ${name} is -1`, undefined, { ...spm, [key(`${name}_token_id`)]: -1 }] as const,
    ]),
    ['T3: BOS wanted but not named', 'T3', { ...bpe, [key('bos_token_id')]: undefined, [key('add_bos_token')]: true }],
    ['T3: EOS wanted but not named', 'T3', { ...bpe, [key('eos_token_id')]: undefined, [key('add_eos_token')]: true }],
    ...['<0x-1>', '<0xZZ>', '<0x>', '<0x100>', '0x41', ''].map((text) =>
      [`T4: byte token ${text}`, 'T4', { ...spm, [key('tokens')]: withToken(spm, 5, text) }] as const),
    ['T5: no merges', 'T5', { ...bpe, [key('merges')]: undefined }],
    ...['he', '', ' ', ' he', 'h\u0000e', 'h e y', 'zz zz', 'h ', 'q q'].map((merge) =>
      [`T5: merge ${JSON.stringify(merge)}`, 'T5', { ...bpe, [key('merges')]: ['h e', merge] }] as const),
  ]
  test.each(corrupt)('%s', (_name, rule, values) => {
    expect(refusal(values)).toMatchObject({ code: 'ERR_HYPURA_CORRUPT_GGUF', ...(rule === undefined ? {} : { details: { rule } }) })
  })

  test.each([
    ['no model', { ...bpe, [key('model')]: undefined }],
    ['bert', { ...bpe, [key('model')]: 'bert' }],
    ['__proto__', { ...bpe, [key('model')]: '__proto__' }],
    ['an unknown pre', { ...bpe, [key('pre')]: 'gpt-5' }],
    ['a prototype name as pre', { ...bpe, [key('pre')]: 'constructor' }],
  ])('T8: %s is unsupported', (_name, values) => {
    expect(refusal(values)).toMatchObject({ code: 'ERR_HYPURA_UNSUPPORTED_TOKENIZER', details: { rule: 'T8' } })
  })

  test('the refusal of an unknown pre names it, the known ones and the way out', () => {
    const { message } = refusal({ ...bpe, [key('pre')]: 'qwen3' }) as Error
    expect(message).toContain('"qwen3"')
    expect(message).toContain('llama-bpe')
    expect(message).toContain('tokenizerPre')
    expect(createTokenizer(metadataOf({ ...bpe, [key('pre')]: 'qwen3' }), { pre: 'qwen2' }).pre).toBe('qwen2')
  })
})

describe('odd but legal', () => {
  test.each([
    ['a missing pre is "default"', { ...bpe, [key('pre')]: undefined }],
    ['scores of another type in BPE, which does not use them (A3)', { ...bpe, [key('scores')]: new Uint8Array(2) }],
    ['duplicate texts (A2)', { ...spm, [key('tokens')]: withToken(spm, count - 1, 'h') }],
    ['invalid UTF-8 in a token (T6)', { ...spm, [key('tokens')]: withToken(spm, count - 1, 'latin1:\xff\xfe') }],
    ['no token types', { ...bpe, [key('token_type')]: undefined }],
    ['an unknown token type', { ...spm, [key('token_type')]: new Int32Array(count).fill(77).fill(6, 3, 259) }],
    ['an empty token', { ...spm, [key('tokens')]: withToken(spm, count - 1, '') }],
    ['merges listed twice', { ...bpe, [key('merges')]: ['h e', 'h e', 'he y'] }],
  ])('%s', (_name, values) => {
    const tokenizer = createTokenizer(metadataOf(values))
    expect(tokenizer.encode('hey').length).toBeGreaterThan(0)
  })

  test('the first of two equal texts is used', () => {
    const tokenizer = createTokenizer(metadataOf({ ...spm, [key('tokens')]: withToken(spm, count - 1, 'h') }))
    expect([...tokenizer.encode('xh')].at(-1)).toBe(260)
  })
})
