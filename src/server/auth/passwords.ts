import { createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../../config/index.ts'
import type { Rules } from '../policy/rules.ts'
import { type Asking, type Auth, type Principal, presentedLogin } from './auth.ts'
import { FairQueue } from './fair-queue.ts'
import { type Terms, termsOf } from './terms.ts'

/** Hashes at once: each takes 128 MiB for some tenths of a second. */
const AT_ONCE = 2
/** How long a login that was right is known to be, in milliseconds: requests of a carrier over HTTP come many a second. */
const KNOWN_FOR = 10 * 60_000
const MOST_KNOWN = 10_000

/** N = 2^17, r = 8, p = 1: what OWASP recommends at least. */
const COST = { ln: 17, r: 8, p: 1 }
const KEY_LENGTH = 32

interface Hash {
  readonly options: ScryptOptions
  readonly salt: Buffer
  readonly key: Buffer
}

interface Known extends Terms {
  readonly name: string
  readonly text: string
  readonly hash: Hash
}

/** Users with passwords (RFC 7617), kept as scrypt hashes (RFC 7914); a user that is not known costs as much as one that is. */
export class PasswordAuth implements Auth {
  #entries: readonly Known[] = []
  readonly #used = new WeakMap<Principal, { readonly text: string; rules: Partial<Rules> }>()
  /** Logins that were right, by a keyed hash of them. */
  readonly #right = new Map<string, { readonly entry: Known; readonly until: number }>()
  readonly #key = randomBytes(32)
  readonly #queue = new FairQueue(AT_ONCE)
  readonly #decoy: Hash = parseHash(formatHash(randomBytes(16), randomBytes(KEY_LENGTH)))
  readonly #now: () => number

  /** @param now the time in milliseconds since 1970 */
  constructor(entries: readonly TokenEntry[], now: () => number = Date.now) {
    this.#now = now
    this.replace(entries)
  }

  /** From now on these are the users, and no others. */
  replace(entries: readonly TokenEntry[]): void {
    this.#entries = entries.flatMap((entry) => {
      const { name, password } = entry
      return password === undefined ? [] : [{ name, text: password, hash: parseHash(password), ...termsOf(entry) }]
    })
    this.#right.clear()
  }

  get expiring(): boolean {
    return this.#entries.some(({ expires }) => expires !== Number.POSITIVE_INFINITY)
  }

  authenticate({ fields, client }: Asking): Principal | undefined | Promise<Principal | undefined> {
    const login = presentedLogin(fields)
    if (login === undefined || this.#entries.length === 0) return undefined
    const { user, password } = login
    const key = createHmac('sha256', this.#key).update(`${user}:${password}`).digest('base64')
    const right = this.#right.get(key)
    if (right !== undefined && this.#now() < right.until) return this.#principal(right.entry)
    return this.#check(user, password, key, client)
  }

  async #check(user: string, password: string, key: string, client: string): Promise<Principal | undefined> {
    const entry = this.#entries.find(({ name }) => name === user)
    const { options, salt, key: wanted } = entry?.hash ?? this.#entries[0]?.hash ?? this.#decoy
    const got = await this.#queue.run(client, () => derive(password, salt, wanted.length, options))
    if (got === undefined || !timingSafeEqual(got, wanted) || entry === undefined) return undefined
    // It may have gone while it was computed.
    if (!this.#entries.includes(entry)) return undefined
    if (this.#right.size >= MOST_KNOWN) this.#right.delete(this.#right.keys().next().value!)
    this.#right.set(key, { entry, until: this.#now() + KNOWN_FOR })
    return this.#principal(entry)
  }

  #principal(entry: Known): Principal | undefined {
    if (this.#now() >= entry.expires) return undefined
    const principal = { name: entry.name }
    this.#used.set(principal, { text: entry.text, rules: entry.rules })
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

  #find(principal: Principal): Known | undefined {
    const text = this.#used.get(principal)?.text
    return this.#entries.find(
      (entry) => entry.name === principal.name && entry.text === text && this.#now() < entry.expires,
    )
  }
}

/** The hash of a password as the token file has it: `$scrypt$ln=17,r=8,p=1$SALT$KEY`, base64 without padding (PHC string). */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  return formatHash(salt, await derive(password, salt, KEY_LENGTH, scryptOptions(COST)))
}

function formatHash(salt: Buffer, key: Buffer): string {
  const { ln, r, p } = COST
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  return `$scrypt$ln=${ln},r=${r},p=${p}$${text(salt)}$${text(key)}`
}

/** Of a text that the configuration has checked. */
function parseHash(text: string): Hash {
  const [, , costs = '', salt = '', key = ''] = text.split('$')
  const [ln = 0, r = 0, p = 0] = costs.split(',').map((part) => Number(part.split('=')[1]))
  return { options: scryptOptions({ ln, r, p }), salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') }
}

function scryptOptions({ ln, r, p }: typeof COST): ScryptOptions {
  const N = 2 ** ln
  return { N, r, p, maxmem: 128 * N * r + 256 * r * p + 1024 * 1024 }
}

function derive(password: string, salt: Buffer, length: number, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFC'), salt, length, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}
