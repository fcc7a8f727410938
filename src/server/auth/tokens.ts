import { createHash, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../../config/index.ts'
import type { Rules } from '../policy/rules.ts'
import { type Asking, type Auth, type Principal, presentedToken } from './auth.ts'
import { type Terms, termsOf } from './terms.ts'

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

interface Known extends Terms {
  readonly name: string
  readonly hash: Buffer
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
    this.#entries = entries.flatMap((entry) => {
      const { name, token, sha256: hex } = entry
      if (token === undefined && hex === undefined) return []
      return [{ name, hash: hex === undefined ? sha256(token!) : Buffer.from(hex, 'hex'), ...termsOf(entry) }]
    })
  }

  /** Whether some token is good for a time only. */
  get expiring(): boolean {
    return this.#entries.some(({ expires }) => expires !== Number.POSITIVE_INFINITY)
  }

  authenticate({ fields }: Asking): Principal | undefined {
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
