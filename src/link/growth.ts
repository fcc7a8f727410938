import type { SessionFigures } from '../session/index.ts'

/** Below this round trip, in milliseconds, another carrier has never helped. */
const LEAST_ROUND_TRIP = 8
/** What moves in one round trip must be this much, in bytes, to be worth another connection. */
const LEAST_BULK = 48 * 1024
/** A stream that moves this much between two looks, in bytes, is bulk. */
export const STREAM_OF_BULK: number = 12 * 1024
/** Round trips that a state must last, and at least so many milliseconds. */
const ROUNDS = 4
const LEAST_TIME = 300
/** By this factor the rate must have risen for the last step to have helped. */
const HELPED = 1.1
/** A step has this many times as long as a state must last to help: where packets are lost, TCP begins slowly. */
const PATIENCE = 5
/** After a step that did not help, the next is tried this much later. */
const PAUSE = 30_000
/** Carriers that nothing needed for this long are closed. */
const IDLE = 15_000

/**
 * How many carriers a session should have (spec §12): twice as many while bulk is held up by the line and the last step
 * helped, and as many as there are streams of bulk, for each of them would have a connection of its own without us; the least
 * again when all is quiet. Time is an argument.
 */
export class Growth {
  readonly #least: number
  readonly #most: number
  #at: number
  #moved: number
  /** Since when the rate is taken, while bulk is held up. */
  #since: number | undefined
  #movedSince = 0
  /** The rate before the last step, in bytes per millisecond. */
  #before = 0
  #notBefore = 0
  /** Since when bulk has been held up with as many carriers as are wanted. */
  #completeAt = 0
  #busyAt: number
  wanted: number

  /** @param moved what the session has moved so far, in bytes */
  constructor(least: number, most: number, now: number, moved: number) {
    this.#least = least
    this.#most = most
    this.wanted = least
    this.#at = now
    this.#moved = moved
    this.#busyAt = now
  }

  /**
   * Looks at the session.
   *
   * @param streams how many of its streams are bulk
   * @returns how many milliseconds later to look again; undefined once nothing is to be watched
   */
  look(now: number, figures: SessionFigures, streams: number): number | undefined {
    const roundTrip = Math.max(0, ...figures.carriers.map(({ leastRoundTrip }) => leastRoundTrip ?? 0))
    const rate = (figures.moved - this.#moved) / Math.max(1, now - this.#at)
    this.#moved = figures.moved
    this.#at = now
    const bulk = rate * Math.max(roundTrip, LEAST_ROUND_TRIP) >= LEAST_BULK
    if (bulk) this.#busyAt = now
    const held = bulk && roundTrip >= LEAST_ROUND_TRIP && figures.unread < 0.5
    if (!held) this.#since = undefined
    else if (streams > this.wanted && this.#may(now)) this.#step(streams, rate)
    else this.#judge(now, figures, Math.max(LEAST_TIME, ROUNDS * roundTrip))
    if (now - this.#busyAt < IDLE) return Math.max(100, roundTrip)
    this.wanted = this.#least
    this.#before = 0
    return undefined
  }

  /** No more than so many could be had; more are tried for later. */
  refused(carriers: number, now: number): void {
    this.wanted = carriers
    this.#notBefore = now + PAUSE
  }

  #judge(now: number, { moved, carriers }: SessionFigures, time: number): void {
    if (this.#since === undefined || carriers.length < this.wanted) this.#completeAt = now
    else {
      const lasted = now - this.#since
      if (lasted < time || !this.#may(now)) return
      const rate = (moved - this.#movedSince) / lasted
      if (rate >= this.#before * HELPED) return this.#step(this.wanted * 2, rate)
      if (now - this.#completeAt >= PATIENCE * time) {
        this.#notBefore = now + PAUSE
        this.#before = 0
      }
    }
    this.#since = now
    this.#movedSince = moved
  }

  #may(now: number): boolean {
    return now >= this.#notBefore && this.wanted < this.#most
  }

  /** @param rate before it, in bytes per millisecond */
  #step(to: number, rate: number): void {
    this.#since = undefined
    this.#before = rate
    this.wanted = Math.min(this.#most, to)
  }
}
