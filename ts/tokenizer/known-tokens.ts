/**
 * Names of tokens with a meaning that files do not always state: what ends a turn, a generation or a file.
 *
 * Facts collected from the vocabularies of the model makers; llama.cpp keeps the same lists. A token of one of these
 * names is a control token even where the file calls it normal: some converters forgot to say so.
 */

/** End of one turn, in order of preference, where `eot_token_id` is absent. */
export const endOfTurnNames: readonly string[] = [
  '<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>', '<|endoftext|>', '<|end_of_text|>', '<EOT>', '_<EOT>', '[EOT]',
  '<｜end▁of▁sentence｜>', '<end_of_utterance>',
]

/** End of a generation. */
export const endNames: readonly string[] = [
  ...endOfTurnNames, '<|return|>', '<|call|>', '<|flush|>', '<|calls|>', '</s>', '<|eom_id|>', '[EOS]', '<eos>',
  '<turn|>', '<|tool_response>', '[e~[',
]

/** Padding and file borders of code models: they end a generation too. */
export const fillNames: readonly string[] = [
  '<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]', '<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>',
  '<reponame>', '<|file_sep|>',
]

/** Names whose tokens are control tokens whatever their stored kind. */
export const controlNames: readonly string[] = [
  ...endNames, ...fillNames,
  '<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>', '<|code_prefix|>', '<|prefix|>',
  '<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '▁<SUF>', '<|code_suffix|>', '<|suffix|>',
  '<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>', '<|code_middle|>', '<|middle|>',
]
