import { createHash, randomBytes } from 'node:crypto'
import type { Rules } from '../policy/rules.ts'
import { type Asking, type Auth, type Principal, presentedToken } from './auth.ts'

/** How long a ticket can be used, in milliseconds. */
export const TICKET_LIFE = 30_000
const PREFIX = 'ticket-'
/** Tickets that wait to be used; beyond that the oldest is forgotten. */
const MOST = 10_000

/** Whether what a request presents is a ticket: with one, no other is made. */
export function isTicket(asking: Asking): boolean {
  return presentedToken(asking.fields)?.startsWith(PREFIX) ?? false
}

/**
 * Tickets: for pages, which should not hold the token of whoever serves them. Each is good once, soon, and for what its maker may
 * do; what it let in ends when its maker's credentials do.
 */
export class Tickets implements Auth {
  readonly #auth: Auth
  readonly #open = new Map<string, { readonly principal: Principal; readonly until: number }>()
  readonly #now: () => number

  constructor(auth: Auth, now: () => number = () => performance.now()) {
    this.#auth = auth
    this.#now = now
  }

  get expiring(): boolean {
    return this.#auth.expiring ?? false
  }

  /** A new ticket for what this principal may do. */
  make(principal: Principal): string {
    const ticket = `${PREFIX}${randomBytes(24).toString('base64url')}`
    if (this.#open.size >= MOST) this.#open.delete(this.#open.keys().next().value!)
    this.#open.set(hashOf(ticket), { principal, until: this.#now() + TICKET_LIFE })
    return ticket
  }

  authenticate(asking: Asking): Principal | undefined | Promise<Principal | undefined> {
    const token = presentedToken(asking.fields)
    if (token?.startsWith(PREFIX) !== true) return this.#auth.authenticate(asking)
    const hash = hashOf(token)
    const found = this.#open.get(hash)
    this.#open.delete(hash)
    const good = found !== undefined && this.#now() < found.until && this.still(found.principal)
    return good ? found.principal : undefined
  }

  still(principal: Principal): boolean {
    return this.#auth.still?.(principal) ?? true
  }

  rules(principal: Principal): Partial<Rules> {
    return this.#auth.rules?.(principal) ?? {}
  }
}

/** By their hashes, so that how long it takes to find one tells nothing of any. */
const hashOf = (ticket: string): string => createHash('sha256').update(ticket).digest('base64')
