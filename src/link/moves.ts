import type { Session } from '../session/index.ts'
import type { Abort } from './abort.ts'
import type { Host } from './host.ts'
import type { PathCuts } from './path-cuts.ts'
import type { Ways, Won } from './ways.ts'

/** When a better kind of carrier is tried, in milliseconds after the last try: at the last of these from then on. */
const IMPROVE_AFTER = [3_000, 10_000, 30_000, 60_000, 300_000, 600_000]
/** A carrier is replaced at this part of the age at which the path cuts it… */
const RENEW_AT = 0.8
/** …except that each so many is kept up to this part, to see whether the path still does. */
const TRIAL = 20
const OUTLIVED_AT = 1.5

export interface MovesOptions {
  readonly host: Host
  readonly ways: Ways
  /** The session that is moved. */
  session(): Session
  /** Whether no more attempts are to be made. */
  stopped(): boolean
  /** Waits, or until it is told to try now. */
  pause(milliseconds: number): Promise<void>
  /** Adds a carrier; undefined if the session is over. */
  join(open: (route: string, abort: Abort) => Promise<Won>): Promise<number | undefined>
  /** Closes carriers; what they have in flight goes to others. */
  retire(numbers: readonly number[]): void
  /** Opens another carrier in the place of this one. */
  renew(number: number): void
  cuts(): PathCuts | undefined
  /** Something was learned of the path. */
  learned(): void
}

/** Moves a session to other carriers while the ones that it has still live: to a better kind, and before they are too old. */
export class Moves {
  readonly #options: MovesOptions
  #improving = false
  /** Attempts at a better kind of carrier. */
  #improvements = 0
  #renewals = 0

  constructor(options: MovesOptions) {
    this.#options = options
  }

  /** While a kind of carrier is used that is not the best, the better ones are tried, ever less often. */
  improveLater(): void {
    const { ways, host, pause, session, stopped } = this.#options
    if (this.#improving || !ways.improvable) return
    this.#improving = true
    const delay = IMPROVE_AFTER[Math.min(this.#improvements++, IMPROVE_AFTER.length - 1)]!
    void pause(delay * (1 + host.random() / 4)).then(async () => {
      this.#improving = false
      if (session().over || stopped() || !ways.improvable) return
      if (!session().waiting) await this.#improve()
      this.improveLater()
    })
  }

  /** A carrier has come: where the path is known to cut what is old, the next one is opened before that. */
  renewLater(number: number): void {
    const { host, session, stopped, cuts, learned, renew } = this.#options
    const age = cuts()?.age
    if (age === undefined) return
    const trial = ++this.#renewals % TRIAL === 0
    host.after(age * (trial ? OUTLIVED_AT : RENEW_AT), () => {
      if (session().over || stopped() || !session().carriers.includes(number)) return
      if (trial) {
        cuts()?.outlived()
        learned()
      } else {
        renew(number)
      }
    })
  }

  /** Joins with a carrier of a better kind, then closes all others. */
  async #improve(): Promise<void> {
    const { join, ways, retire, session } = this.#options
    try {
      const number = await join((route, abort) => ways.improve(route, abort))
      if (number === undefined || session().over) return
      retire(session().carriers.filter((other) => other !== number))
    } catch {
      // Nothing is lost: what was in the way still is, and the session has what it had.
    }
  }
}
