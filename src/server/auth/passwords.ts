import { createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import type { TokenEntry } from '../../config/index.ts'
import type { Rules } from '../policy/rules.ts'
import { type Asking, type Auth, type Principal, presentedLogin } from './auth.ts'
import { Entries, type Entry, termsOf } from './entries.ts'
import { FairQueue } from './fair-queue.ts'

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

interface Known extends Entry {
  readonly parts: Hash
}

/** Users with passwords (RFC 7617), kept as scrypt hashes (RFC 7914); a user that is not known costs as much as one that is. */
export class PasswordAuth implements Auth {
  readonly #entries: Entries<Known>
  /** Logins that were right, by a keyed hash of them. */
  readonly #right = new Map<string, { readonly entry: Known; readonly until: number }>()
  readonly #key = randomBytes(32)
  readonly #queue = new FairQueue(AT_ONCE)
  readonly #now: () => number

  /** @param now the time in milliseconds since 1970 */
  constructor(entries: readonly TokenEntry[], now: () => number = Date.now) {
    this.#now = now
    this.#entries = new Entries(now)
    this.replace(entries)
  }

  /** From now on these are the users, and no others. */
  replace(entries: readonly TokenEntry[]): void {
    this.#entries.all = entries.flatMap((entry) => {
      const { password } = entry
      return password === undefined ? [] : [{ ...termsOf(entry), hash: password, parts: parseHash(password) }]
    })
    this.#right.clear()
  }

  get expiring(): boolean {
    return this.#entries.expiring
  }

  authenticate({ fields, client }: Asking): Principal | undefined | Promise<Principal | undefined> {
    const login = presentedLogin(fields)
    if (login === undefined || this.#entries.all.length === 0) return undefined
    const { user, password } = login
    const key = createHmac('sha256', this.#key).update(`${user}:${password}`).digest('base64')
    const right = this.#right.get(key)
    if (right !== undefined && this.#now() < right.until) return this.#entries.admit(right.entry)
    return this.#check(user, password, key, client)
  }

  async #check(user: string, password: string, key: string, client: string): Promise<Principal | undefined> {
    const entry = this.#entries.all.find(({ name }) => name === user)
    // Whoever is not known is checked against somebody's, for the time that it takes.
    const { options, salt, key: wanted } = (entry ?? this.#entries.all[0]!).parts
    const got = await this.#queue.run(client, () => derive(password, salt, wanted.length, options))
    if (got === undefined || !timingSafeEqual(got, wanted) || entry === undefined) return undefined
    // It may have gone while it was computed.
    if (!this.#entries.all.some(({ name, hash }) => name === entry.name && hash === entry.hash)) return undefined
    if (this.#right.size >= MOST_KNOWN) this.#right.delete(this.#right.keys().next().value!)
    this.#right.set(key, { entry, until: this.#now() + KNOWN_FOR })
    return this.#entries.admit(entry)
  }

  still(principal: Principal): boolean {
    return this.#entries.still(principal)
  }

  rules(principal: Principal): Partial<Rules> {
    return this.#entries.rules(principal)
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
