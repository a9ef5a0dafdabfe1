/** Why a template was stopped. Crosses the thread border as plain data and becomes ERR_HYPURA_TEMPLATE there. */

/**
 * syntax: cannot be parsed · missing-feature: wants something we do not have · raise: the template itself refused ·
 * value: an operation does not fit its operands · time, steps, size, depth: a budget is spent.
 */
export type TemplateReason = 'syntax' | 'missing-feature' | 'raise' | 'value' | 'time' | 'steps' | 'size' | 'depth'

export class TemplateFailure extends Error {
  readonly reason: TemplateReason
  /** 1-based, where known. */
  line: number | undefined

  constructor(reason: TemplateReason, message: string, line?: number) {
    super(message)
    this.name = 'TemplateFailure'
    this.reason = reason
    this.line = line
  }
}
