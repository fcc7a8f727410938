import type { Carrier } from './carrier.ts'

/** A pace is taken over so many milliseconds or round trips, whichever is more. */
const INTERVAL = 500
const ROUNDS = 10
/** Below this pace, in bytes per millisecond, none is worth a new connection. */
const WORTH = 1_000
/** Less than this part of the best pace of the same carrier is much less… */
const OF_ITS_OWN = 1 / 3
/** …and less than this part of another's is: several share the line, though never evenly. */
const OF_OTHERS = 1 / 8
/** After carriers were found worn it is looked again so many milliseconds later, twice as many each time, in vain or not… */
const LOOK_AGAIN = 2_000
const LONGEST = 60_000
/** …and as at first once none was for this long. */
const FORGET = 300_000

/** What a carrier carries, in bytes per millisecond. */
export class Pace {
  #since: number | undefined
  #moved = 0
  #full = true
  #before = 0
  /** In the last interval. */
  latest = 0
  /** For how many intervals as much has been in flight all the time as may be. */
  full = 0
  /** The best of all of those. */
  best = 0

  /**
   * An ACK of so many bytes has come.
   *
   * @param full whether as much was in flight before it as may be
   * @param roundTrip the least, in milliseconds
   */
  note(bytes: number, full: boolean, now: number, roundTrip: number): void {
    this.#since ??= now
    this.#moved += bytes
    this.#full &&= full
    const time = now - this.#since
    if (time < Math.max(INTERVAL, ROUNDS * roundTrip)) return
    this.#before = this.latest
    this.latest = this.#moved / time
    this.full = this.#full ? this.full + 1 : 0
    if (this.#full) this.best = Math.max(this.best, this.latest)
    this.#since = now
    this.#moved = 0
    this.#full = true
  }

  /** In the better of the last two. */
  get lately(): number {
    return Math.max(this.latest, this.#before)
  }
}

/**
 * Finds carriers that are worn: TCP on them carries little though there is always more to send. It can fall into such a state
 * and leave it only slowly, as BBR does on a line with losses where it has seen little for ten round trips; a new connection
 * begins anew (spec §12). Time is an argument, in milliseconds.
 */
export class Wear {
  #lookAt = 0
  #pause = LOOK_AGAIN
  #foundAt = Number.NEGATIVE_INFINITY

  /** Those of all that live which are worn now. */
  look(all: readonly Carrier[], now: number): readonly Carrier[] {
    if (now < this.#lookAt) return []
    this.#lookAt = now + INTERVAL / 2
    const worn = all.length === 1 ? all.filter(hasLessThanItHad) : lessThanOthers(all)
    if (worn.length === 0) return worn
    if (now - this.#foundAt > FORGET) this.#pause = LOOK_AGAIN
    this.#foundAt = now
    this.#lookAt = now + this.#pause
    this.#pause = Math.min(2 * this.#pause, LONGEST)
    return worn
  }
}

function hasLessThanItHad({ flight: { pace } }: Carrier): boolean {
  return pace.full > 0 && pace.best >= WORTH && pace.latest < OF_ITS_OWN * pace.best
}

function lessThanOthers(carriers: readonly Carrier[]): readonly Carrier[] {
  const fastest = Math.max(0, ...carriers.map(({ flight }) => flight.pace.latest))
  if (fastest < WORTH) return []
  return carriers.filter(({ flight: { pace } }) => pace.full > 1 && pace.lately < OF_OTHERS * fastest)
}
