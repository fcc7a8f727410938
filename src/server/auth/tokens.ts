import { createHash, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../../config/index.ts'
import type { Rules } from '../policy/rules.ts'
import { type Asking, type Auth, type Principal, presentedToken } from './auth.ts'
import { Entries, type Entry, termsOf } from './entries.ts'

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

interface Known extends Entry {
  readonly bytes: Buffer
}

/** Bearer tokens, kept as hashes and compared in constant time, all of them on every try. */
export class TokenAuth implements Auth {
  readonly #entries: Entries<Known>

  /** @param now the time in milliseconds since 1970, for tokens that expire */
  constructor(entries: readonly TokenEntry[], now: () => number = Date.now) {
    this.#entries = new Entries(now)
    this.replace(entries)
  }

  /** From now on these are the tokens, and no others. */
  replace(entries: readonly TokenEntry[]): void {
    this.#entries.all = entries.flatMap((entry) => {
      const { token, sha256: hex } = entry
      if (token === undefined && hex === undefined) return []
      const bytes = hex === undefined ? sha256(token!) : Buffer.from(hex, 'hex')
      return [{ ...termsOf(entry), hash: bytes.toString('hex'), bytes }]
    })
  }

  get expiring(): boolean {
    return this.#entries.expiring
  }

  authenticate({ fields }: Asking): Principal | undefined {
    const token = presentedToken(fields)
    const hash = sha256(token ?? '')
    let found: Known | undefined
    for (const entry of this.#entries.all) if (timingSafeEqual(entry.bytes, hash)) found = entry
    return token === undefined || found === undefined ? undefined : this.#entries.admit(found)
  }

  still(principal: Principal): boolean {
    return this.#entries.still(principal)
  }

  rules(principal: Principal): Partial<Rules> {
    return this.#entries.rules(principal)
  }
}
