import type { TokenEntry } from '../../config/index.ts'
import { Policy } from '../policy/policy.ts'
import { ReversePolicy } from '../policy/reverse.ts'
import type { Rules } from '../policy/rules.ts'
import type { Principal } from './auth.ts'

/** Somebody of the token file, by one kind of credential. */
export interface Entry {
  readonly name: string
  /** The credential as it is kept: its hash. */
  readonly hash: string
  /** In milliseconds since 1970. */
  readonly expires: number
  readonly rules: Partial<Rules>
}

/** What a line of the token file says beside the credential. */
export function termsOf({ name, expires, allow, allowReverse }: TokenEntry): Omit<Entry, 'hash'> {
  return {
    name,
    expires: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires),
    rules: {
      ...(allow === undefined ? {} : { policy: new Policy(allow) }),
      ...(allowReverse === undefined ? {} : { reverse: new ReversePolicy(allowReverse) }),
    },
  }
}

/** Who is let in by one kind of credential, as the token file changes, and who has been. */
export class Entries<T extends Entry> {
  all: readonly T[] = []
  /** By which credential each one came in, and what it was good for when it was last known. */
  readonly #used = new WeakMap<Principal, { readonly hash: string; rules: Partial<Rules> }>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether some are good for a time only. */
  get expiring(): boolean {
    return this.all.some(({ expires }) => expires !== Number.POSITIVE_INFINITY)
  }

  /** Lets somebody in who has shown the credential; undefined if it has expired. */
  admit({ name, hash, expires, rules }: T): Principal | undefined {
    if (this.#now() >= expires) return undefined
    const principal = { name }
    this.#used.set(principal, { hash, rules })
    return principal
  }

  still(principal: Principal): boolean {
    return this.#find(principal) !== undefined
  }

  rules(principal: Principal): Partial<Rules> {
    const used = this.#used.get(principal)
    if (used === undefined) return {}
    // One that has gone, or expired, must not get the rules of all until what it has open is ended.
    used.rules = this.#find(principal)?.rules ?? used.rules
    return used.rules
  }

  #find(principal: Principal): T | undefined {
    const hash = this.#used.get(principal)?.hash
    return this.all.find((entry) => entry.name === principal.name && entry.hash === hash && this.#now() < entry.expires)
  }
}
