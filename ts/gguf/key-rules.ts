/**
 * Which malformed class a key belongs to, so that an error about its value names its test.
 * The family's name in front of hyper-parameters is ignored: `llama.block_count` and `qwen3.block_count` are P1.
 */
const rules: readonly (readonly [pattern: RegExp, rule: string])[] = [
  [/^general\.alignment$/, 'K12'],
  [/^general\.architecture$/, 'K13'],
  [/^split\./, 'F2'],
  [/^tokenizer\.ggml\.tokens$/, 'T1'],
  [/^tokenizer\.ggml\.(?:scores|token_type)$/, 'T2'],
  [/^tokenizer\.ggml\..*(?:_id|_ids)$/, 'T3'],
  [/^tokenizer\.ggml\.merges$/, 'T5'],
  [/^tokenizer\.ggml\.precompiled_charsmap$/, 'T7'],
  [/^tokenizer\.ggml\.(?:model|pre)$/, 'T8'],
  [/^tokenizer\.chat_template/, 'T10'],
  [/\.block_count$/, 'P1'],
  [/\.attention\.(?:head_count|key_length|value_length)/, 'P2'],
  [/\.embedding_length$/, 'P3'],
  [/\.expert/, 'P5'],
  [/\.feed_forward_length$/, 'P4'],
  [/\.context_length$/, 'P6'],
  [/\.rope\./, 'P7'],
  [/epsilon$/, 'P8'],
  [/\.vocab_size$/, 'P9'],
]

/** The class of a key; K4 (value type) for keys without a class of their own. */
export function ruleOfKey(key: string): string {
  return rules.find(([pattern]) => pattern.test(key))?.[1] ?? 'K4'
}
