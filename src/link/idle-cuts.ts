/** What has been learned of a path, as it is kept. Times in milliseconds. */
export interface IdleCutsState {
  /** After so long without a byte the path was cut, seen at least twice. */
  readonly limit?: number
  /** The same, seen once. */
  readonly seen?: number
}

/** Cuts after less or more quiet than this say nothing of a limit. */
const LEAST = 4_000
const MOST = 30 * 60_000
/** Two cuts are alike within this part of the time. */
const ALIKE = 0.2
/** A ping comes after this part of the limit, and no more often than `LEAST`. */
const MARGIN = 0.7

/**
 * Learns after how much quiet boxes on the path cut connections: one cut can be chance, two after the same time are a rule.
 */
export class IdleCuts {
  #limit: number | undefined
  #seen: number | undefined

  constructor(state: IdleCutsState = {}) {
    this.#limit = state.limit
    this.#seen = state.seen
  }

  /** A connection was lost after this much quiet. Returns whether something was learned. */
  cut(after: number): boolean {
    if (after < LEAST || after > MOST || (this.#limit !== undefined && after >= this.#limit * (1 - ALIKE))) return false
    const again = this.#seen !== undefined && Math.abs(after - this.#seen) <= ALIKE * this.#seen
    if (again) this.#limit = Math.min(after, this.#seen!)
    this.#seen = after
    return true
  }

  get state(): IdleCutsState {
    return {
      ...(this.#limit === undefined ? {} : { limit: this.#limit }),
      ...(this.#seen === undefined ? {} : { seen: this.#seen }),
    }
  }

  /** After how much quiet to ping, where `usual` is what one does on a path of which nothing is known. */
  interval(usual: number): number {
    if (this.#limit === undefined || usual === 0) return usual
    return Math.min(usual, Math.max(LEAST, this.#limit * MARGIN))
  }
}
