/** What windows may grow by beyond their initial size, in bytes, for a session or for all sessions of a process. */
export class CreditPool {
  readonly limit: number
  readonly #parent: CreditPool | undefined
  #used = 0
  #needed = 0

  /** @param parent a larger pool out of which this one draws too */
  constructor(limit: number, parent?: CreditPool) {
    this.limit = limit
    this.#parent = parent
  }

  get used(): number {
    return this.#used
  }

  /** How much may still be drawn. */
  get free(): number {
    const own = Math.max(0, this.limit - this.#used)
    return this.#parent === undefined ? own : Math.min(own, this.#parent.free)
  }

  /** The largest window that a stream has used up within two round trips. */
  get needed(): number {
    return this.#needed
  }

  /** A stream has used up a window of this size within two round trips. */
  need(size: number): void {
    this.#needed = Math.max(this.#needed, size)
  }

  /** Draws up to this much; returns how much it was. */
  draw(bytes: number): number {
    const got = Math.max(0, Math.min(bytes, this.free))
    this.#take(got)
    return got
  }

  giveBack(bytes: number): void {
    this.#take(-bytes)
  }

  #take(bytes: number): void {
    this.#used += bytes
    if (this.#parent !== undefined) this.#parent.#take(bytes)
  }
}

/** No window grows beyond this: 32 MiB are 2.6 Gbit/s at a round trip of 100 ms. */
const MOST = 32 * 1024 * 1024
/** Credit is given when half of the window was taken, or this much: most of a large window is then always the sender's to use. */
const STEP = 512 * 1024
/** A window grows fourfold up to here, as TCP's own start nearly triples; beyond, where it costs much memory, it doubles. */
const SMALL = 1024 * 1024
/** A window becomes at once what streams of its session have needed, if that is no more than this share of the free pool. */
const SHARE_AT_ONCE = 1 / 16

/**
 * The credit that one stream was given and what the application has taken of it (spec §7). It sends nothing: it answers
 * whether a new grant is due.
 */
export class ReceiveWindow {
  readonly #pool: CreditPool
  readonly #initial: number
  #size: number
  #consumed = 0
  /** When the last half of the window began to be used, and what had been taken by then. */
  #halfAt: number
  #halfFrom = 0
  /** The peer may send up to this offset. */
  granted: number

  constructor(initial: number, pool: CreditPool, now: number) {
    this.#pool = pool
    this.#initial = initial
    this.#size = initial
    this.granted = initial
    this.#halfAt = now
  }

  get size(): number {
    return this.#size
  }

  /** How much the application has taken. */
  get consumed(): number {
    return this.#consumed
  }

  /**
   * The application took this much. Returns whether `granted` rose, so that CREDIT is due.
   *
   * The window grows when half of it was used up within two round trips; it does not grow for a slow reader or sender, nor
   * beyond the pool. What earlier streams needed it gets at once: else a line that is known takes many round trips to fill
   * again, and BBR, which forgets after ten of them what the line can do, begins anew from the little that it saw meanwhile.
   *
   * @param roundTrip in milliseconds; undefined while nothing is known, when growth is the better guess
   */
  consume(bytes: number, now: number, roundTrip: number | undefined): boolean {
    this.#consumed += bytes
    if (this.granted - this.#consumed > this.#size - Math.min(this.#size / 2, STEP)) return false
    if (this.#consumed - this.#halfFrom >= this.#size / 2) this.#half(now, roundTrip)
    const granted = this.#consumed + this.#size
    if (granted <= this.granted) return false
    this.granted = granted
    return true
  }

  #half(now: number, roundTrip: number | undefined): void {
    if (roundTrip === undefined || now - this.#halfAt < 2 * roundTrip) {
      this.#pool.need(this.#size)
      const known = Math.min(this.#pool.needed, SHARE_AT_ONCE * this.#pool.free)
      const next = Math.max(this.#size * (this.#size < SMALL ? 4 : 2), Math.floor(known))
      this.#size += this.#pool.draw(Math.min(next, MOST) - this.#size)
    }
    this.#halfAt = now
    this.#halfFrom = this.#consumed
  }

  /** The stream is over: what it had beyond its initial size goes back to the pool. */
  close(): void {
    this.#pool.giveBack(this.#size - this.#initial)
    this.#size = this.#initial
  }
}
