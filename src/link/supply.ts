import { messageOf, SluiceError } from '../errors/index.ts'
import type { Session } from '../session/index.ts'
import { backoff } from './backoff.ts'
import { Growth, STREAM_OF_BULK } from './growth.ts'
import type { Host } from './host.ts'

/** What of a server's answer to an attempt cannot be mended by trying again. */
const FINAL = new Set(['ERR_SLUICE_AUTH', 'ERR_SLUICE_POLICY', 'ERR_SLUICE_GONE'])
/** As many carriers as are ever opened on our own account. */
const MOST_CARRIERS = 8
/** When so many bytes have moved, it may be bulk. */
const MAYBE_BULK = 256 * 1024

export interface SupplyOptions {
  readonly host: Host
  /** How many carriers to keep; `auto`: more while bulk is held up by the line. */
  readonly carriers: number | 'auto'
  /** The session that is supplied. */
  session(): Session
  /** Whether several carriers are of use, of the kind that is used now. */
  several(): boolean
  /** How many the server allows. */
  allowed(): number
  /** Whether no more attempts are to be made. */
  stopped(): boolean
  /** Waits, or until it is told to try now. */
  pause(milliseconds: number): Promise<void>
  /** Adds a carrier. @throws SluiceError */
  bring(): Promise<unknown>
  brought(): void
  /** Closes carriers; what they have in flight goes to others. */
  retire(numbers: readonly number[]): void
  /** The session is lost for good. */
  giveUp(error: SluiceError): void
  /** An attempt failed while there was no carrier; the next is made after `delay` milliseconds. */
  retrying(why: string, delay: number): void
  /** Carriers were closed because nothing needs them; so many are left. */
  changed(count: number): void
}

/** Keeps a client's session supplied with as many carriers as it should have. */
export class Supply {
  readonly #options: SupplyOptions
  #wanted: number
  #growth: Growth | undefined
  /** Carriers that are closed as others come in their place. */
  readonly #old = new Set<number>()
  /** Attempts at carriers that are under way. */
  #bringing = 0

  constructor(options: SupplyOptions) {
    this.#options = options
    this.#wanted = options.carriers === 'auto' ? 1 : options.carriers
  }

  /** There is a session, with its first carrier. */
  start(): void {
    this.#options.session().watch(MAYBE_BULK)
    this.fill()
  }

  /** Brings as many carriers as are missing; while there is none, one attempt at a time. */
  fill(): void {
    const session = this.#options.session()
    if (session.over || this.#options.stopped()) return
    const missing = (session.waiting ? 1 : this.#target) - this.#kept - this.#bringing
    for (let i = 0; i < missing; i++) void this.#bring()
  }

  /** Opens another carrier in the place of this one: before it is closed, or after, where there may be no more at once. */
  renew(number: number): void {
    const { session, allowed, retire } = this.#options
    if (session().carriers.length + this.#bringing < allowed()) this.#old.add(number)
    else retire([number])
    this.fill()
  }

  /** How many carriers there are that are to stay. */
  get #kept(): number {
    return this.#options.session().carriers.filter((number) => !this.#old.has(number)).length
  }

  get #target(): number {
    const { several, allowed } = this.#options
    return several() ? Math.min(this.#wanted, allowed()) : 1
  }

  get #missing(): boolean {
    return this.#kept < this.#target
  }

  /** The server, or the network, gives no more than these. */
  #settleFor(carriers: number): void {
    this.#old.clear()
    this.#wanted = Math.max(1, carriers)
    this.#growth?.refused(this.#wanted, this.#options.host.now())
  }

  /** Tries until there is one more carrier, or none is wanted any more. */
  async #bring(): Promise<void> {
    const { host, carriers, stopped, pause, bring, brought, giveUp, retrying } = this.#options
    const session = this.#options.session()
    this.#bringing++
    for (let attempt = 1; !session.over && !stopped(); attempt++) {
      try {
        await bring()
        brought()
        this.#retireOld()
        break
      } catch (error) {
        if (session.over || stopped()) break
        const final = error instanceof SluiceError && FINAL.has(error.code)
        if (!session.waiting && (final || carriers === 'auto')) this.#settleFor(session.carriers.length)
        else if (final) giveUp(error)
        const delay = backoff(attempt, host.random())
        if (session.waiting) retrying(messageOf(error), delay)
        if (!this.#missing) break
        await pause(delay)
        if (!this.#missing) break
      }
    }
    this.#bringing--
    // What died while it was brought had no other to come for it.
    this.fill()
  }

  /** Much has moved: watches whether more carriers would help, or new ones, until all is quiet again. */
  watch(): void {
    const { host, carriers } = this.#options
    const session = this.#options.session()
    const [least, most] = carriers === 'auto' ? [1, MOST_CARRIERS] : [carriers, carriers]
    const growth = new Growth(least, most, host.now(), session.figures.moved)
    this.#growth = growth
    const look = () => {
      if (session.over || this.#growth !== growth) return
      const { figures } = session
      const next = growth.look(host.now(), figures, session.countMoved(STREAM_OF_BULK))
      this.#wanted = growth.wanted
      if (next !== undefined) host.after(next, look)
      else session.watch(MAYBE_BULK)
      if (growth.wanted < session.carriers.length) this.#shrink(growth.wanted)
      this.fill()
    }
    host.after(100, look)
  }

  /** One has come: an old one goes. */
  #retireOld(): void {
    const { carriers } = this.#options.session()
    for (const number of this.#old) {
      this.#old.delete(number)
      if (carriers.includes(number)) return this.#options.retire([number])
    }
  }

  /** Closes carriers that nothing needs, the slowest first. */
  #shrink(to: number): void {
    const session = this.#options.session()
    const slowest = [...session.figures.carriers].sort((a, b) => (b.leastRoundTrip ?? 0) - (a.leastRoundTrip ?? 0))
    this.#options.retire(slowest.slice(0, session.carriers.length - to).map(({ number }) => number))
    this.#options.changed(session.carriers.length)
  }
}
