import type { Session } from '../session/index.ts'
import type { Carrier } from './carrier.ts'
import type { Host } from './host.ts'

/** A timer that is due within this time, in milliseconds, is early enough for the ACK of a message that came now. */
const SOON = 2
/** Flushes that follow each other faster than this are put together: there is more to come in the same turn of the loop. */
const BUSY = 0.2

/** Binds a session to its carriers and to a host: feeds it, sends what it has to say, and wakes it at its deadlines. */
export class Pump {
  readonly session: Session
  readonly #host: Host
  readonly #carriers = new Map<number, Carrier>()
  readonly #onLost: (carrier: number, why: string) => void
  readonly #leaving = new Set<number>()
  #flushing = false
  #deferred = false
  #flushedAt = 0
  #timerAt = Number.POSITIVE_INFINITY
  #cancelTimer: () => void = () => {}
  readonly #flushLater = (): void => {
    this.#deferred = false
    this.flush()
  }

  /** @param onLost a carrier is gone, and the session knows */
  constructor(session: Session, host: Host, onLost: (carrier: number, why: string) => void) {
    this.session = session
    this.#host = host
    this.#onLost = onLost
  }

  /** For the session's `wake`: sends soon. */
  wake(): void {
    if (this.#deferred || this.#flushing) return
    this.#deferred = true
    // Alone, what is to be sent leaves at once; in a crowd it waits for the rest of the turn, and they share one write.
    if (this.#host.now() - this.#flushedAt > BUSY) this.#host.soon(this.#flushLater)
    else this.#host.defer(this.#flushLater)
  }

  /** Whether carriers have yet to send the last of what was said, after the end of the session. */
  get leaving(): boolean {
    return this.#leaving.size > 0
  }

  /** Tells the session the time, before it is used outside of the pump. */
  touch(): void {
    this.session.now = this.#host.now()
  }

  /** Takes a carrier on which HELLOs have been exchanged; the session has it by this number. */
  add(number: number, carrier: Carrier): void {
    this.#carriers.set(number, carrier)
  }

  begin(number: number, declared: number | undefined): void {
    this.session.begin(number, declared, this.#host.now())
  }

  part(number: number, bytes: Uint8Array, memory: Parameters<Session['push']>[2]): void {
    this.session.push(number, bytes, memory, this.#host.now())
  }

  end(number: number): void {
    const now = this.#host.now()
    this.session.end(number, now)
    // An ACK may be owed now. The timer that is set is early enough for most.
    if (this.#timerAt > now + SOON && !this.#deferred) this.#arm()
  }

  lost(number: number, why: string): void {
    this.#leaving.delete(number)
    if (!this.#carriers.delete(number) || !this.session.carriers.includes(number)) return
    this.session.lost(number, this.#host.now())
    this.#onLost(number, why)
  }

  /** The session gave a carrier up. */
  gaveUp(number: number, why: string): void {
    const carrier = this.#carriers.get(number)
    if (!this.#carriers.delete(number)) return
    carrier?.destroy()
    this.#onLost(number, why)
  }

  /** Ends a carrier in good order, and without a word to the owner: what was sent on it leaves first. */
  retire(number: number): void {
    this.session.lost(number, this.#host.now())
    this.#carriers.get(number)?.close()
  }

  /** Sends all that the session has to say now. */
  flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    let corked: Carrier | undefined
    const now = this.#host.now()
    for (let out = this.session.transmit(now); out !== undefined; out = this.session.transmit(now)) {
      const carrier = this.#carriers.get(out.carrier)
      if (carrier !== corked) {
        corked?.uncork()
        corked = carrier
        corked?.cork()
      }
      const key = carrier?.send(out.head, out.headLength, out.body, out.memory, out.changes)
      if (key !== undefined) this.session.masked(key)
    }
    corked?.uncork()
    this.#flushing = false
    this.#flushedAt = this.#host.now()
    if (this.session.over) this.#end()
    else this.#arm()
  }

  #arm(): void {
    const deadline = this.session.deadline()
    // A timer that fires early does no harm, so only an earlier deadline needs a new one.
    if (deadline >= this.#timerAt) return
    this.#cancelTimer()
    this.#timerAt = deadline
    this.#cancelTimer = this.#host.after(Math.max(0, deadline - this.#host.now()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.session.advance(this.#host.now())
      this.flush()
    })
  }

  /** After CLOSE: the carriers end. */
  #end(): void {
    this.#cancelTimer()
    this.#timerAt = Number.POSITIVE_INFINITY
    for (const [number, carrier] of this.#carriers) {
      this.#leaving.add(number)
      carrier.close()
    }
    this.#carriers.clear()
  }
}
