import { isFor, type Limit, type LimitTerms } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { Principal } from './auth/auth.ts'

/** Those who have nothing open are forgotten beyond so many, the longest known first; what they have moved too. */
const REMEMBERED = 10_000
/** What may be moved at once after a pause, in seconds of the rate. */
const BURST = 0.25

/** What one session or connection counts against, until it is released. */
export interface Lease {
  /** Whether bytes of it are limited: then {@link take} must be told of all. */
  readonly metered: boolean
  /**
   * Counts bytes that were moved.
   *
   * @returns how many milliseconds to wait before more are
   */
  take(bytes: number): number
  release(): void
}

/** Ends what a lease is for. */
type End = (why: string) => void

interface Account {
  /** Whose it is: the latest that has the name. */
  principal: Principal
  /** What is open, in the order in which it was opened. */
  readonly sessions: Set<End>
  readonly streams: Set<End>
  bytes: number
  readonly bucket: Bucket
}

/** What everybody uses, and whether that is too much. */
export class Quotas {
  #limits: readonly Limit[]
  readonly #accounts = new Map<string, Account>()
  readonly #now: () => number

  /** @param now in milliseconds, from a clock that goes forward */
  constructor(limits: readonly Limit[], now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
  }

  /** From now on these hold: numbers and bytes for what is open too ({@link recheck}), times and rates for what begins. */
  replace(limits: readonly Limit[]): void {
    this.#limits = limits
  }

  /** Ends what is too much now, the latest first; returns how many. */
  recheck(): number {
    let ended = 0
    for (const { principal, sessions, streams, bytes } of this.#accounts.values()) {
      const terms = this.#termsOf(principal)
      const spent = bytes >= (terms.bytes ?? Number.POSITIVE_INFINITY)
      const over = [
        ...beyond(sessions, terms.sessions, `${principal.name} may have ${terms.sessions} sessions`),
        ...beyond(
          streams,
          spent ? 0 : terms.streams,
          spent
            ? `${principal.name} has moved ${terms.bytes} bytes`
            : `${principal.name} may have ${terms.streams} connections`,
        ),
      ]
      for (const end of over) end()
      ended += over.length
    }
    return ended
  }

  /**
   * Begins a session.
   *
   * @param end called when its time is up
   * @throws SluiceError `ERR_SLUICE_POLICY` if there are as many as may be
   */
  session(principal: Principal, end: (why: string) => void): Lease {
    const { terms, account } = this.#open(principal)
    if (account.sessions.size >= (terms.sessions ?? Number.POSITIVE_INFINITY)) {
      throw tooMany(principal, `${terms.sessions} sessions`)
    }
    const own: End = (why) => end(why)
    account.sessions.add(own)
    return leaseOf(terms.time, end, 'session', () => account.sessions.delete(own))
  }

  /**
   * Begins a connection.
   *
   * @param end called when its time is up, or when it or its owner has moved all that may be
   * @throws SluiceError `ERR_SLUICE_POLICY` if there are as many as may be, or nothing may be moved any more
   */
  stream(principal: Principal, end: (why: string) => void): Lease {
    const { terms, account } = this.#open(principal)
    const { streams, bytes, rate, streamTime, streamBytes, streamRate } = terms
    if (account.streams.size >= (streams ?? Number.POSITIVE_INFINITY))
      throw tooMany(principal, `${streams} connections`)
    if (account.bytes >= (bytes ?? Number.POSITIVE_INFINITY)) throw tooMany(principal, `${bytes} bytes`)
    const own: End = (why) => end(why)
    account.streams.add(own)
    const lease = leaseOf(streamTime, end, 'connection', () => account.streams.delete(own))
    if ([bytes, rate, streamBytes, streamRate].every((term) => term === undefined)) return lease
    const bucket = new Bucket(this.#now())
    let moved = 0
    return {
      ...lease,
      metered: true,
      take: (count) => {
        moved += count
        account.bytes += count
        if (moved > (streamBytes ?? Number.POSITIVE_INFINITY)) end(`it has moved the ${streamBytes} bytes that it may`)
        if (account.bytes > (bytes ?? Number.POSITIVE_INFINITY)) end(`${principal.name} has moved ${bytes} bytes`)
        const now = this.#now()
        return Math.max(bucket.take(count, streamRate, now), account.bucket.take(count, rate, now))
      },
    }
  }

  #open(principal: Principal): { readonly terms: LimitTerms; readonly account: Account } {
    const terms = this.#termsOf(principal)
    let account = this.#accounts.get(principal.name)
    if (account === undefined) {
      if (this.#accounts.size >= REMEMBERED) this.#forget()
      account = { principal, sessions: new Set(), streams: new Set(), bytes: 0, bucket: new Bucket(this.#now()) }
      this.#accounts.set(principal.name, account)
    }
    account.principal = principal
    return { terms, account }
  }

  #termsOf(principal: Principal): LimitTerms {
    return this.#limits.find(({ who }) => isFor(who, principal)) ?? {}
  }

  #forget(): void {
    for (const [name, { sessions, streams }] of this.#accounts) {
      if (sessions.size + streams.size > 0) continue
      this.#accounts.delete(name)
      return
    }
  }
}

/** The latest of those that are beyond a number, each as what ends it. */
function beyond(open: ReadonlySet<End>, most: number | undefined, why: string): (() => void)[] {
  return most === undefined
    ? []
    : [...open]
        .slice(most)
        .reverse()
        .map((end) => () => end(why))
}

function leaseOf(time: number | undefined, end: (why: string) => void, what: string, release: () => void): Lease {
  const timer =
    time === undefined ? undefined : setTimeout(() => end(`a ${what} may last ${time / 1000} s`), time).unref()
  let released = false
  return {
    metered: false,
    take: () => 0,
    release: () => {
      if (released) return
      released = true
      clearTimeout(timer)
      release()
    },
  }
}

/** Bytes that may be moved: what was moved beyond is waited for. */
class Bucket {
  /** Until when what was moved takes at the rate. */
  #until: number

  constructor(now: number) {
    this.#until = now
  }

  take(bytes: number, rate: number | undefined, now: number): number {
    if (rate === undefined) return 0
    this.#until = Math.max(this.#until, now - BURST * 1000) + (bytes / rate) * 1000
    return Math.max(0, this.#until - now)
  }
}

function tooMany({ name }: Principal, what: string): SluiceError {
  return new SluiceError('ERR_SLUICE_POLICY', `${name} may have ${what}, and has`)
}
