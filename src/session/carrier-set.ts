import { type CarrierCount, CloseReason, Violation } from '../wire/index.ts'
import { Carrier, type CarrierOwner } from './carrier.ts'
import type { Core } from './core.ts'

/** Carriers that are dead are remembered for what still arrives of them, so many. */
const REMEMBERED = 64
/** Below this many milliseconds a carrier without an ACK is not called stalled, however short its round trip. */
const LEAST_STALL = 30
/** Whether another carrier has room for what is late on one is looked at this often, in milliseconds. */
const LOOK_AGAIN = 20
/** A carrier whose greeting took no more than so many times the round trip of another has the same line before it. */
const SAME_LINE = 5
/** What a round trip is taken for before any is known. */
const UNKNOWN = 500

/** A session's carriers as they come and go: numbers, what the dead leave, and what a stalled one holds up (spec §8, §9). */
export class CarrierSet {
  readonly #core: Core
  /** Numbers that were used: all below the first, and those in the set. */
  #usedBelow = 0
  readonly #used = new Set<number>()
  #next = 0
  #lookAt = 0

  constructor(core: Core) {
    this.#core = core
  }

  takeNumber(): number {
    return this.#next++
  }

  wasUsed(number: number): boolean {
    return number < this.#usedBelow || this.#used.has(number)
  }

  attach(number: number, owner: CarrierOwner, sendMost: number, roundTrip?: number): void {
    const { own, now } = this.#core
    const options = { sendMost, receiveMost: own.max_message, ackBytes: own.ack_bytes, ackDelay: own.ack_delay }
    const carrier = new Carrier(number, owner, options, now)
    if (roundTrip !== undefined) carrier.flight.rate.greeted(this.#withoutQueue(roundTrip), now)
    this.#core.add(carrier)
    this.#next = Math.max(this.#next, number + 1)
    this.#use(number)
    this.#forgetOldest()
    this.#requeueDead()
  }

  /** A greeting beside bulk waits in the line's queue: what the others know of the line is nearer to the truth. */
  #withoutQueue(roundTrip: number): number {
    const least = Math.min(...this.#core.alive.map(({ flight }) => flight.rate.least ?? Number.POSITIVE_INFINITY))
    return roundTrip < SAME_LINE * least ? Math.min(roundTrip, least) : roundTrip
  }

  #use(number: number): void {
    this.#used.add(number)
    while (this.#used.delete(this.#usedBelow)) this.#usedBelow++
    if (this.#used.size <= REMEMBERED) return
    // Somebody leaves gaps: the lowest is closed, so that they cost no memory.
    this.#usedBelow = Math.min(...this.#used)
    while (this.#used.delete(this.#usedBelow)) this.#usedBelow++
  }

  #forgetOldest(): void {
    const { carriers } = this.#core
    for (const [number, { alive, flight }] of carriers) {
      if (carriers.size <= REMEMBERED) return
      if (!alive && flight.bytes === 0) carriers.delete(number)
    }
  }

  deadCounts(): CarrierCount[] {
    return [...this.#core.carriers.values()]
      .filter(({ alive }) => !alive)
      .slice(-REMEMBERED)
      .map(({ number, received }) => ({ carrier: number, received }))
  }

  countsOf(dead: readonly CarrierCount[]): CarrierCount[] {
    return dead.flatMap(({ carrier }) => {
      const known = this.#core.carriers.get(carrier)
      return known === undefined ? [] : [{ carrier, received: known.received }]
    })
  }

  /** @throws Violation ACK_RANGE */
  settleDead(dead: readonly CarrierCount[]): number[] {
    const core = this.#core
    const died: number[] = []
    for (const { carrier: number, received } of dead) {
      const carrier = core.carriers.get(number)
      if (carrier === undefined) continue
      if (received > carrier.flight.count) {
        throw new Violation(
          CloseReason.ACK_RANGE,
          `join: ${received} messages of carrier ${number} (sent: ${carrier.flight.count})`,
        )
      }
      if (carrier.alive) {
        died.push(number)
        core.died(carrier)
      }
      carrier.flight.ack(received, core.now, undefined, (sent) => core.done(sent))
    }
    core.checkWriters()
    this.#requeueDead()
    return died
  }

  #requeueDead(): void {
    if (this.#core.alive.length === 0) return
    for (const carrier of this.#core.carriers.values()) if (!carrier.alive) this.#core.requeue(carrier)
  }

  /** @returns whether it was alive */
  lost(number: number): boolean {
    const carrier = this.#core.carriers.get(number)
    if (carrier === undefined || !carrier.alive) return false
    this.#core.died(carrier)
    this.#requeueDead()
    return true
  }

  // --- stalls ---

  /** When the next carrier counts as stalled, if no ACK comes; infinite while there is no other to take over. */
  stallDeadline(): number {
    const limit = this.#stallLimit()
    let least = Number.POSITIVE_INFINITY
    if (limit === undefined) return least
    for (const { suspected, flight } of this.#core.alive) {
      const since = suspected ? undefined : flight.waitingSince
      if (since === undefined) continue
      least = Math.min(least, since + limit, Math.max(flight.lateAt ?? least, this.#lookAt))
    }
    return least
  }

  /** Twice the longest round trip and the ACK delay: what takes longer is late, not far (spec §12). */
  #stallLimit(): number | undefined {
    let good = 0
    let longest: number | undefined
    for (const { suspected, flight } of this.#core.alive) {
      if (suspected) continue
      good++
      const { smoothed } = flight.rate
      if (smoothed !== undefined && smoothed > (longest ?? 0)) longest = smoothed
    }
    if (good < 2) return undefined
    longest ??= UNKNOWN
    return Math.max(LEAST_STALL, 2 * longest) + this.#core.peer.ack_delay
  }

  /** What waits on a carrier that gives no sign is sent again on the others; nothing new is sent on it until it gives one. */
  hedge(): void {
    const core = this.#core
    for (;;) {
      const limit = this.#stallLimit()
      if (limit === undefined) return
      const late = core.alive.find(({ suspected, flight }) => {
        return !suspected && flight.waitingSince !== undefined && core.now >= flight.waitingSince + limit
      })
      if (late === undefined) return
      late.suspected = true
      for (const sent of late.flight.unacknowledged()) core.sendAgain(sent)
      core.wake()
    }
  }

  /**
   * What is late on a carrier that has become slow, though it gives signs, is sent again if another has little to do: streams
   * wait for it there, and may have no credit left for more. Where all are slow, nothing is.
   */
  relieve(): void {
    const core = this.#core
    const { now } = core
    const isLate = ({ flight }: Carrier) => flight.lateAt !== undefined && now >= flight.lateAt
    if (now < this.#lookAt || !core.alive.some(isLate)) return
    const good = core.alive.filter(({ good }) => good)
    if (good.length < 2) return
    // Beside streams that send little, one has little in flight because it is left free for them.
    const free = good.some(
      (one) => !isLate(one) && !one.flight.rate.shared && one.flight.bytes < one.flight.rate.window / 4,
    )
    for (const carrier of good) {
      if (!isLate(carrier)) continue
      this.#lookAt = now + LOOK_AGAIN
      if (!free) return
      const late = carrier.flight.takeLate()
      carrier.flight.rate.slowed(late[0]!, now)
      for (const sent of late) core.sendAgain(sent)
      core.wake()
    }
  }
}
