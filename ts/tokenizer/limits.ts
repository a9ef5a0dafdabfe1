/** Every limit of tokenizers and templates, with its unit and its reason. */

/** Tokens of a vocabulary. The largest seen are 262,144; ids cross the border as 32 bits. */
export const tokensMax: number = 4 << 20

/** Merges. The largest seen are 514,000; ranks are packed into 24 bits. */
export const mergesMax: number = 4 << 20

/** UTF-16 units of one text to encode: far beyond any context, and keeps byte offsets inside 29 bits. */
export const textUnitsMax: number = 2 ** 27
