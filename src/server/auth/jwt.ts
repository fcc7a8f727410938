import { createHash } from 'node:crypto'
import { type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { messageOf } from '../../errors/index.ts'
import { type Asking, type Auth, type Principal, presentedToken } from './auth.ts'

/** Signatures that are taken: none by a shared secret, which whoever verifies could forge (RFC 8725 §3.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** How far clocks may be apart, in seconds. */
const SKEW = 60
/** How long a signature is known to be right, in milliseconds: after that a key that was withdrawn is missed. */
const KNOWN_FOR = 5 * 60_000
const MOST_KNOWN = 10_000
const MOST_LENGTH = 8 * 1024

export interface JwtOptions {
  /** The keys of the issuer; see `cli/jwks.ts`. */
  readonly keys: JWTVerifyGetKey
  /** `iss` must be this, and `aud` must have this in it. */
  readonly issuer: string
  readonly audience: string
  /** The claim that names whose it is. Default `sub`. */
  readonly nameClaim?: string
  /** The claim with a list of groups. Default `groups`. */
  readonly groupsClaim?: string
  /** Told why a token was not taken: for the operator's log. */
  readonly refused?: (why: string) => void
  readonly now?: () => number
}

interface Known {
  readonly name: string
  readonly groups: readonly string[]
  readonly expires: number
  readonly until: number
}

/** JSON Web Tokens (RFC 7519) of an issuer. What somebody has open ends when the latest token that they have presented expires. */
export class JwtAuth implements Auth {
  readonly #options: JwtOptions
  readonly #known = new Map<string, Known>()
  /** Until when each is let in, by name: a newer token extends what an older one began. */
  readonly #expires = new Map<string, number>()
  readonly #now: () => number

  constructor(options: JwtOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  readonly expiring = true

  authenticate({ fields }: Asking): Principal | undefined | Promise<Principal | undefined> {
    const token = presentedToken(fields)
    if (token === undefined || token.length > MOST_LENGTH || token.split('.').length !== 3) return undefined
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#known.get(key)
    const now = this.#now()
    if (known !== undefined && now < Math.min(known.until, known.expires)) return this.#principal(known)
    return this.#verify(token, key)
  }

  async #verify(token: string, key: string): Promise<Principal | undefined> {
    const { keys, issuer, audience } = this.#options
    try {
      const now = this.#now()
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        clockTolerance: SKEW,
        currentDate: new Date(now),
        requiredClaims: ['exp'],
      })
      const known = { ...this.#claims(payload), until: now + KNOWN_FOR }
      if (this.#known.size >= MOST_KNOWN) this.#known.delete(this.#known.keys().next().value!)
      this.#known.set(key, known)
      return this.#principal(known)
    } catch (error) {
      this.#options.refused?.(messageOf(error))
      return undefined
    }
  }

  #claims(payload: JWTPayload): Pick<Known, 'name' | 'groups' | 'expires'> {
    const { nameClaim = 'sub', groupsClaim = 'groups' } = this.#options
    const name = payload[nameClaim]
    if (typeof name !== 'string' || name === '') throw new Error(`it has no claim "${nameClaim}"`)
    const groups = payload[groupsClaim]
    return {
      name: `jwt:${name}`,
      groups: Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [],
      expires: (payload.exp! + SKEW) * 1_000,
    }
  }

  #principal({ name, groups, expires }: Known): Principal {
    const now = this.#now()
    if (this.#expires.size >= MOST_KNOWN) {
      for (const [one, until] of this.#expires) if (until < now) this.#expires.delete(one)
    }
    this.#expires.set(name, Math.max(expires, this.#expires.get(name) ?? 0))
    return { name, groups }
  }

  still({ name }: Principal): boolean {
    return this.#now() < (this.#expires.get(name) ?? 0)
  }
}
