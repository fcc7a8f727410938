import { randomBytes } from 'node:crypto'
import type { Carrier } from '../../link/index.ts'
import { PARAMETERS } from '../../node/index.ts'
import { ID_LENGTH } from '../../wire/index.ts'
import type { Principal } from '../auth/auth.ts'
import { type Exchange, HttpServerCarrier } from './carrier.ts'
import type { HttpAsked } from './request.ts'

/** Takes a new carrier, and has it say what the server says first. */
export type AcceptCarrier = (
  carrier: Carrier,
  principal: Principal,
  route: string | undefined,
  exchange: Exchange,
) => void

/** The carriers over HTTP of a tunnel, by their ids (spec/http-1.md). */
export class HttpCarriers {
  readonly #carriers = new Map<string, { readonly carrier: HttpServerCarrier; readonly owner: string }>()
  readonly #most: number
  readonly #accept: AcceptCarrier

  /** @param most how many there may be at once */
  constructor(most: number, accept: AcceptCarrier) {
    this.#most = most
    this.#accept = accept
  }

  /** Takes a request that has been admitted for this principal; answers it, now or in its turn. */
  handle(asked: HttpAsked, principal: Principal, exchange: Exchange): void {
    if ('route' in asked) return this.#begin(asked, principal, exchange)
    const known = this.#carriers.get(asked.id)
    if (known === undefined || known.owner !== principal.name) return exchange.refuse(410, 'there is no such carrier')
    if (asked.what === 'exchange') return known.carrier.exchange(exchange, asked.up, asked.down)
    known.carrier.end()
    exchange.begin(0)
    exchange.response.end()
  }

  #begin(asked: Extract<HttpAsked, { route: unknown }>, principal: Principal, exchange: Exchange): void {
    if (this.#carriers.size >= this.#most) {
      return exchange.refuse(503, 'the server carries as many connections as it may')
    }
    const id = randomBytes(ID_LENGTH)
    const key = id.toString('base64url')
    const carrier = new HttpServerCarrier(PARAMETERS.max_message, () => void this.#carriers.delete(key))
    this.#carriers.set(key, { carrier, owner: principal.name })
    if (asked.what === 'duplex') carrier.duplex(exchange)
    this.#accept(carrier, principal, asked.route, exchange)
    if (asked.what === 'begin') carrier.begin(exchange, id)
  }
}
