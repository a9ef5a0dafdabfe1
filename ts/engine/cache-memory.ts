/** The memory of a loaded model's cache: the plan in force, and the way to another one. */
import type { NativeEngine } from '../native/native-binding.js'
import { expectationOf } from '../prefetch/expectation.js'
import type { MemoryPlan } from '../prefetch/memory-budget.js'
import { divisionOf, leastBudgetBytes, type LoadedModel, redivide } from '../prefetch/redivision.js'
import { counters } from './model-stats.js'
import { awaitNative } from './native-errors.js'
import type { ModelPlan } from './plan-model.js'

export interface CacheMemoryParts {
  readonly engine: NativeEngine
  readonly loaded: LoadedModel & { readonly plan: ModelPlan }
  readonly paths: readonly string[]
  readonly onPlan: (plan: ModelPlan) => void
}

export class CacheMemory {
  readonly #parts: CacheMemoryParts
  #plan: ModelPlan
  #last = 0

  constructor(parts: CacheMemoryParts) {
    this.#parts = parts
    this.#plan = parts.loaded.plan
  }

  /** In force. */
  get plan(): ModelPlan {
    return this.#plan
  }
  /** The least budget that a resize can go down to. */
  get leastBytes(): number {
    return leastBudgetBytes(this.#parts.loaded)
  }
  /** What everything that was loaded takes: at most the budget of the load. */
  get mostBytes(): number {
    return this.#parts.loaded.plan.chosen.total
  }
  /** Of the load. */
  get budgetMostBytes(): number {
    return this.#parts.loaded.plan.regions.budgetBytes
  }
  /** Pages that the engine has from the system. */
  get arenaBytes(): number {
    return counters(this.#parts.engine).arenaBytes
  }

  /**
   * A later call replaces one that is on its way, which then resolves early.
   *
   * @returns the budget in force
   * Errors: those of redivide(); ERR_HYPURA_INSUFFICIENT_MEMORY, ERR_HYPURA_IO, ERR_HYPURA_MODEL_CHANGED when something cannot
   * come back: what is in memory stays in use.
   */
  async resize(budgetBytes: number): Promise<number> {
    const { engine, loaded, paths } = this.#parts
    const wanted = redivide(loaded, budgetBytes)
    const number = ++this.#last
    try {
      const inForce = await awaitNative(engine.resize(divisionOf(wanted.regions)), paths)
      if (number === this.#last) this.#enforce(wanted)
      return inForce
    } catch (error) {
      if (number === this.#last) await this.#stayWithWhatThereIs()
      throw error
    }
  }

  /** After a growth that stopped half-way: the division that holds no more than what came. */
  async #stayWithWhatThereIs(): Promise<void> {
    const { engine, loaded, paths } = this.#parts
    const plan = redivide(loaded, Math.max(this.leastBytes, counters(engine).placedBytes))
    const number = ++this.#last
    // An engine that does not even shrink has ended, and says so to the next caller.
    await awaitNative(engine.resize(divisionOf(plan.regions)), paths).then(() => number === this.#last && this.#enforce(plan), () => undefined)
  }

  #enforce(memory: MemoryPlan): void {
    const { loaded, onPlan } = this.#parts
    const { modelBytes } = loaded.plan
    this.#plan = {
      ...loaded.plan,
      ...memory,
      budgetBytes: memory.regions.budgetBytes,
      residentBytes: Math.min(modelBytes, memory.chosen.trunk + memory.chosen.pinned + memory.chosen.experts),
      expectation: (cost = loaded.plan.drive.cost) => expectationOf(loaded.manifest, memory, cost),
    }
    onPlan(this.#plan)
  }
}
