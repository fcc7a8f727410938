import { createHash, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../config/index.ts'
import { fieldList, fieldValues, type HeaderFields } from '../websocket/index.ts'
import { Policy } from './policy/policy.ts'
import { ReversePolicy } from './policy/reverse.ts'
import type { Rules } from './policy/rules.ts'

/** Whom the server takes a request to be from. */
export interface Principal {
  readonly name: string
}

/** Decides who is asking; undefined is a refusal. Called once for each request, before its target is looked at. */
export interface Auth {
  authenticate(fields: HeaderFields): Principal | undefined
  /** Whether somebody who was let in earlier still would be. Without it, whoever is in stays. */
  still?(principal: Principal): boolean
  /** What this one may do in place of what all may; asked at each use, so that it may change. */
  rules?(principal: Principal): Partial<Rules>
}

/** The subprotocol by which browsers, which cannot set headers, present a token. It is never echoed. */
export const BEARER_PROTOCOL = 'authorization.bearer.'

/** The token of a request: from `Authorization: Bearer` (RFC 6750 §2.1), or from the subprotocol. */
function presentedToken(fields: HeaderFields): string | undefined {
  const header = fieldValues(fields, 'authorization')
  if (header.length > 1) return undefined
  if (header.length === 1) return /^Bearer +(\S+)$/i.exec(header[0]!)?.[1]
  const offered = fieldList(fields, 'sec-websocket-protocol').filter((name) => name.startsWith(BEARER_PROTOCOL))
  return offered.length === 1 ? offered[0]!.slice(BEARER_PROTOCOL.length) : undefined
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

interface Known {
  readonly name: string
  readonly hash: Buffer
  readonly expires: number
  readonly rules: Partial<Rules>
}

/** Bearer tokens, kept as hashes and compared in constant time, all of them on every try. */
export class TokenAuth implements Auth {
  #entries: readonly Known[] = []
  /** By which token each one came in, and what it was good for when it was last known. */
  readonly #used = new WeakMap<Principal, { readonly hash: Buffer; rules: Partial<Rules> }>()
  readonly #now: () => number

  /** @param now the time in milliseconds since 1970, for tokens that expire */
  constructor(entries: readonly TokenEntry[], now: () => number = Date.now) {
    this.#now = now
    this.replace(entries)
  }

  /** From now on these are the tokens, and no others. */
  replace(entries: readonly TokenEntry[]): void {
    this.#entries = entries.map(({ name, token, sha256: hex, expires, allow, allowReverse }) => ({
      name,
      hash: hex === undefined ? sha256(token ?? '') : Buffer.from(hex, 'hex'),
      expires: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires),
      rules: {
        ...(allow === undefined ? {} : { policy: new Policy(allow) }),
        ...(allowReverse === undefined ? {} : { reverse: new ReversePolicy(allowReverse) }),
      },
    }))
  }

  /** Whether some token is good for a time only. */
  get expiring(): boolean {
    return this.#entries.some(({ expires }) => expires !== Number.POSITIVE_INFINITY)
  }

  authenticate(fields: HeaderFields): Principal | undefined {
    const token = presentedToken(fields)
    const hash = sha256(token ?? '')
    const found = this.#find(hash)
    if (token === undefined || found === undefined) return undefined
    const principal = { name: found.name }
    this.#used.set(principal, { hash, rules: found.rules })
    return principal
  }

  still(principal: Principal): boolean {
    const used = this.#used.get(principal)
    return used !== undefined && this.#find(used.hash)?.name === principal.name
  }

  rules(principal: Principal): Partial<Rules> {
    const used = this.#used.get(principal)
    if (used === undefined) return {}
    // A token that has gone, or expired, must not get the rules of all until what it has open is ended.
    used.rules = this.#find(used.hash)?.rules ?? used.rules
    return used.rules
  }

  #find(hash: Buffer): Known | undefined {
    let found: Known | undefined
    const now = this.#now()
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.hash, hash) && now < entry.expires) found = entry
    }
    return found
  }
}

/** Lets everybody in: for loopback behind a proxy that has asked already. */
export class NoAuth implements Auth {
  authenticate(): Principal {
    return { name: 'anyone' }
  }
}
