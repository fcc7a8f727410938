/** So many are forgotten each minute. */
const FORGOTTEN = 10
/** The first delay in milliseconds; each failure doubles it. */
const DELAY = 100
const MOST_DELAY = 3_000
/** So many beyond those that are free, and they are refused. */
const REFUSED = 40
/** Answers that may wait at once, whoever they are for. */
const MOST_WAITING = 1_000
/** Addresses that are remembered at most; beyond that the oldest is forgotten. */
const REMEMBERED = 10_000

/**
 * What comes of credentials that are wrong: from one address they are answered ever more slowly, and then refused for a
 * while. Those that are right are never asked for here. The time is an argument, in milliseconds from any clock that goes forward.
 */
export class Failures {
  readonly #counts = new Map<string, { level: number; at: number }>()
  readonly #free: number
  #waiting = 0

  /** @param free how many of one address cost it nothing: typing errors, a token that has just gone */
  constructor(free: number) {
    this.#free = free
  }

  /** Counts one; says how many milliseconds its answer must wait, or that it is refused. */
  count(address: string, now: number): number | 'refused' {
    const { level = 0, at = now } = this.#counts.get(address) ?? {}
    const count = Math.min(this.#free + 2 * REFUSED, Math.max(0, level - ((now - at) / 60_000) * FORGOTTEN) + 1)
    this.#counts.delete(address)
    this.#counts.set(address, { level: count, at: now })
    if (this.#counts.size > REMEMBERED) this.#counts.delete(this.#counts.keys().next().value!)
    const beyond = count - this.#free
    if (beyond > REFUSED) return 'refused'
    return beyond <= 0 ? 0 : Math.min(MOST_DELAY, DELAY * 2 ** Math.ceil(beyond))
  }

  /** Waits, where not too many do; false where they do. */
  async wait(milliseconds: number): Promise<boolean> {
    if (milliseconds === 0) return true
    if (this.#waiting >= MOST_WAITING) return false
    this.#waiting++
    await new Promise((resolve) => setTimeout(resolve, milliseconds).unref())
    this.#waiting--
    return true
  }
}
