/** What has been learned of a path, as it is kept. Times in milliseconds. */
export interface PathCutsState {
  /** After so long without a byte the path was cut, seen at least twice. */
  readonly limit?: number
  /** The same, seen once. */
  readonly seen?: number
  /** At this age connections are cut, seen at least twice. */
  readonly age?: number
  /** The same, seen once. */
  readonly ageSeen?: number
}

/** Cuts after less or more quiet than this say nothing of a limit. */
const LEAST = 4_000
const MOST = 30 * 60_000
/** The same of ages. */
const LEAST_AGE = 2_000
const MOST_AGE = 24 * 3600_000
/** Two cuts are alike within this part of the time. */
const ALIKE = 0.2
const ALIKE_AGE = 0.1
/** A connection that was quiet for this part of its life was cut for that. */
const QUIET_LIFE = 0.8
/** A ping comes after this part of the limit, and no more often than `LEAST`. */
const MARGIN = 0.7

/**
 * Learns after how much quiet, and at which age, boxes on the path cut connections: one cut can be chance, two after the same
 * time are a rule.
 */
export class PathCuts {
  #limit: number | undefined
  #seen: number | undefined
  #age: number | undefined
  #ageSeen: number | undefined

  constructor(state: PathCutsState = {}) {
    this.#limit = state.limit
    this.#seen = state.seen
    this.#age = state.age
    this.#ageSeen = state.ageSeen
  }

  /** A connection was lost after this much quiet, at this age. Returns whether something was learned. */
  cut(quiet: number, age: number): boolean {
    const aged = this.#cutAt(quiet, age)
    return this.#cutAfter(quiet) || aged
  }

  #cutAfter(quiet: number): boolean {
    if (quiet < LEAST || quiet > MOST || (this.#limit !== undefined && quiet >= this.#limit * (1 - ALIKE))) return false
    const again = this.#seen !== undefined && Math.abs(quiet - this.#seen) <= ALIKE * this.#seen
    if (again) this.#limit = Math.min(quiet, this.#seen!)
    this.#seen = quiet
    return true
  }

  #cutAt(quiet: number, age: number): boolean {
    if (age < LEAST_AGE || age > MOST_AGE || quiet >= age * QUIET_LIFE) return false
    if (this.#age !== undefined && age >= this.#age * (1 - ALIKE_AGE)) return false
    const again = this.#ageSeen !== undefined && Math.abs(age - this.#ageSeen) <= ALIKE_AGE * this.#ageSeen
    if (again) this.#age = Math.min(age, this.#ageSeen!)
    this.#ageSeen = age
    return true
  }

  get state(): PathCutsState {
    return {
      ...(this.#limit === undefined ? {} : { limit: this.#limit }),
      ...(this.#seen === undefined ? {} : { seen: this.#seen }),
      ...(this.#age === undefined ? {} : { age: this.#age }),
      ...(this.#ageSeen === undefined ? {} : { ageSeen: this.#ageSeen }),
    }
  }

  /** After how much quiet to ping, where `usual` is what one does on a path of which nothing is known. */
  interval(usual: number): number {
    if (this.#limit === undefined || usual === 0) return usual
    return Math.min(usual, Math.max(LEAST, this.#limit * MARGIN))
  }

  /** The age at which connections are cut; undefined while none is known. */
  get age(): number | undefined {
    return this.#age
  }

  /** A connection was older than that, and lived. */
  outlived(): void {
    this.#age = undefined
    this.#ageSeen = undefined
  }
}
