/** Every limit of tokenizers and templates, with its unit and its reason. */

/** Tokens of a vocabulary. The largest seen are 262,144; ids cross the border as 32 bits. */
export const tokensMax: number = 4 << 20

/** Merges. The largest seen are 514,000; ranks are packed into 24 bits. */
export const mergesMax: number = 4 << 20

/** UTF-16 units of one text to encode: far beyond any context, and keeps byte offsets inside 29 bits. */
export const textUnitsMax: number = 2 ** 27

/**
 * Budgets of one rendering. A template is a stranger's program; measured over 68 templates of real models: at most 1,500
 * steps and depth 20 for a short chat, 82,500 steps for 5,000 messages.
 */
export interface TemplateLimits {
  /** UTF-16 units of the template's source. */
  readonly sourceUnits: number
  /** Nodes evaluated, and items touched by built-in functions. */
  readonly steps: number
  /** Nested evaluations; else-if chains nest. */
  readonly depth: number
  readonly macroDepth: number
  /** Items of one range(), and of all in one rendering. */
  readonly rangeItems: number
  readonly rangeItemsInAll: number
  readonly listItems: number
  /** UTF-16 units of any text and of the output, above the input's size. */
  readonly textUnits: number
  /** Levels of lists and objects in what is passed in. */
  readonly inputDepth: number
}

export const templateLimits: TemplateLimits = Object.freeze({
  sourceUnits: 1 << 20,
  steps: 1_000_000,
  depth: 512,
  macroDepth: 64,
  rangeItems: 10_000,
  rangeItemsInAll: 100_000,
  listItems: 65_536,
  textUnits: 4 << 20,
  inputDepth: 128,
})

/** Time in ms. A busy machine gets one more attempt, with twice the time, in a fresh worker. */
export interface TemplateTimes {
  readonly base: number
  /** Units of input text that earn one more millisecond. */
  readonly unitsPerMs: number
  readonly most: number
  /** Parsing the source: 20 ms for the longest real template, before the code is warm. */
  readonly compile: number
  /** Starting a worker: 30 ms when idle. */
  readonly start: number
}

export const templateTimes: TemplateTimes = Object.freeze({
  base: 100, unitsPerMs: 4096, most: 2_000, compile: 2_000, start: 20_000,
})
