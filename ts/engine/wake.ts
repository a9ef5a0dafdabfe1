/** A flag that one side raises and the other awaits: raising it before the wait, or twice, is one wake. */
export class Wake {
  #raised = false
  #resume: (() => void) | undefined

  raise(): void {
    this.#raised = true
    this.#resume?.()
  }

  /** Until raise() was called since the last wait, or `timeoutMs` is over. */
  async wait(timeoutMs: number): Promise<void> {
    if (!this.#raised) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        this.#resume = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#resume = undefined
    }
    this.#raised = false
  }
}
