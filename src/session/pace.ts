/** A pace is taken over so many milliseconds or round trips, whichever is more. */
const INTERVAL = 500
const ROUNDS = 10
/** Less than this part of the best pace is much less. */
const MUCH_LESS = 1 / 3
/** Below this pace, in bytes per millisecond, none is worth a new connection. */
const WORTH = 1_000

/**
 * What a carrier carries while as much is in flight on it as may be. TCP can fall into a state that it leaves only slowly, as BBR
 * does on a line with losses where it has seen little for ten round trips; a new connection begins anew (spec §12).
 */
export class Pace {
  #since: number | undefined
  #moved = 0
  #best = 0
  /** Whether it carries much less than it once did, though there is always more to send. */
  worn = false

  /**
   * An ACK of so many bytes has come.
   *
   * @param full whether as much was in flight before it as may be
   * @param roundTrip the least, in milliseconds
   */
  note(bytes: number, full: boolean, now: number, roundTrip: number): void {
    if (!full || this.#since === undefined) {
      this.#since = full ? now : undefined
      this.#moved = 0
      return
    }
    this.#moved += bytes
    const time = now - this.#since
    if (time < Math.max(INTERVAL, ROUNDS * roundTrip)) return
    const pace = this.#moved / time
    this.#best = Math.max(this.#best, pace)
    this.worn = this.#best >= WORTH && pace < MUCH_LESS * this.#best
    this.#since = now
    this.#moved = 0
  }
}
