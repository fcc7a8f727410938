import type { Carrier } from './carrier.ts'

/** A pace is taken over so many milliseconds or round trips, whichever is more. */
const INTERVAL = 500
const ROUNDS = 10
/** Below this pace, in bytes per millisecond, none is worth a new connection. */
const WORTH = 1_000
/** Less than this part of what it had at best, or of what one has that took the place of a worn one, is too little for a carrier… */
const TOO_LITTLE = 1 / 3
/** …and less than this part of what any other has: several share the line, though never evenly. */
const OF_OTHERS = 1 / 8
/** After carriers were found worn it is looked again so many milliseconds later, twice as many each time while those that come do no better. */
const LOOK_AGAIN = 2_000
const LONGEST = 60_000

/** What a carrier carries, in bytes per millisecond. */
export class Pace {
  #since = 0
  #moved = 0
  #full = false
  /** Whether this interval has begun anew: not again, or none would end where it is full now and not full now. */
  #begun = false
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
    // What was before there was more to send than may be in flight says nothing of what comes: the interval begins anew, once.
    if (full && !this.#full && !this.#begun) this.#begin(now, true)
    this.#moved += bytes
    this.#full &&= full
    const time = now - this.#since
    if (time < Math.max(INTERVAL, ROUNDS * roundTrip)) return
    this.#before = this.latest
    this.latest = this.#moved / time
    this.full = this.#full ? this.full + 1 : 0
    if (this.#full) this.best = Math.max(this.best, this.latest)
    this.#begin(now, false)
  }

  #begin(now: number, begun: boolean): void {
    this.#since = now
    this.#moved = 0
    this.#full = true
    this.#begun = begun
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
  #restUntil = 0
  #pause = LOOK_AGAIN
  /** The best pace of those that were replaced last. */
  #replaced = 0
  /** Carriers of this number and above have come since. */
  #newFrom = Number.POSITIVE_INFINITY

  /** Those of all that live which are worn now. */
  look(all: readonly Carrier[], now: number): readonly Carrier[] {
    if (now < this.#lookAt) return []
    this.#lookAt = now + INTERVAL / 2
    const proof = this.#proof(all)
    if (now < this.#restUntil && proof === 0) return []
    const worn = all.length === 1 ? all.filter(hasLessThanItHad) : lessThanOthers(all, proof)
    if (worn.length === 0) return worn
    if (proof > 0) this.#pause = LOOK_AGAIN
    this.#restUntil = now + this.#pause
    this.#pause = Math.min(2 * this.#pause, LONGEST)
    this.#replaced = Math.max(...worn.map(({ flight }) => flight.pace.lately))
    this.#newFrom = Math.max(...all.map(({ number }) => number)) + 1
    return worn
  }

  /** What a new carrier has, if it shows that those which were replaced were worn indeed; else 0. */
  #proof(all: readonly Carrier[]): number {
    let best = 0
    for (const { number, flight } of all) if (number >= this.#newFrom) best = Math.max(best, flight.pace.latest)
    return best >= WORTH && this.#replaced < TOO_LITTLE * best ? best : 0
  }
}

function hasLessThanItHad({ flight: { pace } }: Carrier): boolean {
  return pace.full > 0 && pace.best >= WORTH && pace.latest < TOO_LITTLE * pace.best
}

function lessThanOthers(carriers: readonly Carrier[], proof: number): readonly Carrier[] {
  const fastest = Math.max(0, ...carriers.map(({ flight }) => flight.pace.latest))
  if (fastest < WORTH) return []
  const least = Math.max(OF_OTHERS * fastest, TOO_LITTLE * proof)
  return carriers.filter(({ flight: { pace } }) => pace.full > 1 && pace.lately < least)
}
