import type { PeerCertificate } from 'node:tls'
import { fieldList, fieldValues, type HeaderFields } from '../../websocket/index.ts'
import type { Rules } from '../policy/rules.ts'

/** Whom the server takes a request to be from. */
export interface Principal {
  /** Unique among all who may come in: `ann` of a token or a password, `jwt:ann`, `cert:ann`, `proxy:ann`. */
  readonly name: string
  /** Groups that whoever vouches for it puts it into; rules can be `for group:NAME`. */
  readonly groups?: readonly string[]
}

/** What somebody is known by. */
export interface Asking {
  readonly fields: HeaderFields
  /** The address at the other end of the TCP connection: a proxy's, where there is one. */
  readonly peer: string
  /** The address of whoever asks, as far as a proxy that is trusted says so. */
  readonly client: string
  /** The client's certificate, if it has proved one over TLS that the server's CA of clients has signed. */
  readonly certificate?: PeerCertificate | undefined
}

/**
 * Decides who is asking. Called once for each request, before its target is looked at and before anything else of it is acted
 * on. test/suites/auth.ts is run against every implementation.
 */
export interface Auth {
  /** Who it is; undefined is a refusal, the same for whatever reason. It does not throw or reject. */
  authenticate(asking: Asking): Principal | undefined | Promise<Principal | undefined>
  /** Whether somebody who was let in earlier still would be. Without it, whoever is in stays. */
  still?(principal: Principal): boolean
  /** What this one may do in place of what all may; asked at each use, so that it may change. */
  rules?(principal: Principal): Partial<Rules>
  /** Whether time alone can end what somebody has: then `still` has to be asked again and again. */
  readonly expiring?: boolean
}

/** The subprotocol by which browsers, which cannot set headers, present a token. It is never echoed. */
export const BEARER_PROTOCOL = 'authorization.bearer.'

/** The token of a request: from `Authorization: Bearer` (RFC 6750 §2.1), or from the subprotocol. */
export function presentedToken(fields: HeaderFields): string | undefined {
  const header = fieldValues(fields, 'authorization')
  if (header.length > 1) return undefined
  if (header.length === 1) return /^Bearer +(\S+)$/i.exec(header[0]!)?.[1]
  const offered = fieldList(fields, 'sec-websocket-protocol').filter((name) => name.startsWith(BEARER_PROTOCOL))
  return offered.length === 1 ? offered[0]!.slice(BEARER_PROTOCOL.length) : undefined
}

/** User and password of a request: from `Authorization: Basic` (RFC 7617 §2). */
export function presentedLogin(fields: HeaderFields): { readonly user: string; readonly password: string } | undefined {
  const header = fieldValues(fields, 'authorization')
  const encoded = header.length === 1 ? /^Basic +([A-Za-z0-9+/]+=*)$/i.exec(header[0]!)?.[1] : undefined
  const text = Buffer.from(encoded ?? '', 'base64').toString()
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** Several ways to be let in: the first that knows who it is decides. */
export class AnyAuth implements Auth {
  readonly #all: readonly Auth[]
  readonly #by = new WeakMap<Principal, Auth>()

  constructor(all: readonly Auth[]) {
    this.#all = all
  }

  get expiring(): boolean {
    return this.#all.some(({ expiring }) => expiring)
  }

  authenticate(asking: Asking): Principal | undefined | Promise<Principal | undefined> {
    return this.#ask(asking, 0)
  }

  #ask(asking: Asking, from: number): Principal | undefined | Promise<Principal | undefined> {
    for (let index = from; index < this.#all.length; index++) {
      const auth = this.#all[index]!
      const found = auth.authenticate(asking)
      if (found instanceof Promise) {
        return found.then((principal) => this.#known(principal, auth) ?? this.#ask(asking, index + 1))
      }
      if (found !== undefined) return this.#known(found, auth)
    }
    return undefined
  }

  #known(principal: Principal | undefined, auth: Auth): Principal | undefined {
    if (principal !== undefined) this.#by.set(principal, auth)
    return principal
  }

  still(principal: Principal): boolean {
    return this.#by.get(principal)?.still?.(principal) ?? true
  }

  rules(principal: Principal): Partial<Rules> {
    return this.#by.get(principal)?.rules?.(principal) ?? {}
  }
}

/** Lets everybody in: for loopback behind a proxy that has asked already. */
export class NoAuth implements Auth {
  authenticate(): Principal {
    return { name: 'anyone' }
  }
}
