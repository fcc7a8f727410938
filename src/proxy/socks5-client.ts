import { SluiceError } from '../errors/index.ts'
import { Collector, utf8 } from './bytes.ts'
import type { ProxyCredentials } from './protocol.ts'

const VERSION = 5
const NO_AUTHENTICATION = 0
const USER_PASSWORD = 2
const NOT_ACCEPTABLE = 0xff

/** Reply codes (RFC 1928 §6). */
const REPLIES: Readonly<Record<number, string>> = {
  1: 'general failure',
  2: 'not allowed by its rules',
  3: 'network unreachable',
  4: 'host unreachable',
  5: 'connection refused',
  6: 'time to live expired',
  7: 'command not supported',
  8: 'address type not supported',
}

/** What to do next. */
export type Socks5ClientStep =
  | { readonly send: Uint8Array }
  /** Connected; `rest` is what came after the answer. */
  | { readonly connected: true; readonly rest: Uint8Array }

/** Where a proxy is to connect to: `address` is its 4 or 16 bytes where it is no name. */
export interface Socks5Target {
  readonly host: string
  readonly port: number
  readonly address: Uint8Array | undefined
}

/** The client's side of SOCKS5 CONNECT (RFC 1928, RFC 1929), sans-I/O; a name is resolved by the proxy. */
export class Socks5Client {
  readonly #target: Socks5Target
  readonly #credentials: ProxyCredentials | undefined
  readonly #received = new Collector()
  #state: 'method' | 'password' | 'reply' = 'method'

  constructor(target: Socks5Target, credentials: ProxyCredentials | undefined) {
    this.#target = target
    this.#credentials = credentials
  }

  /** What is sent first. */
  get greeting(): Uint8Array {
    const methods = this.#credentials === undefined ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, USER_PASSWORD]
    return Uint8Array.of(VERSION, methods.length, ...methods)
  }

  /**
   * Takes the next bytes.
   *
   * @returns undefined while more must come
   * @throws SluiceError `ERR_SLUICE_PROXY`, `ERR_SLUICE_AUTH`
   */
  push(bytes: Uint8Array): Socks5ClientStep | undefined {
    this.#received.push(bytes)
    const expected = this.#state === 'password' ? 1 : VERSION
    if (this.#received.length > 0 && this.#received.at(0) !== expected) throw failed('does not speak SOCKS5')
    if (this.#state === 'reply') return this.#reply()
    const answer = this.#received.take(2)
    if (answer === undefined) return undefined
    return { send: this.#state === 'method' ? this.#method(answer[1]!) : this.#accepted(answer[1]!) }
  }

  #method(method: number): Uint8Array {
    if (method === NO_AUTHENTICATION) return this.#request()
    if (method === USER_PASSWORD && this.#credentials !== undefined) {
      this.#state = 'password'
      const [user, password] = [utf8(this.#credentials.user), utf8(this.#credentials.password)]
      if (user.length > 255 || password.length > 255) {
        throw unknown('takes no user or password longer than 255 bytes (RFC 1929)', 'Shorten it, or use an HTTP proxy.')
      }
      return Uint8Array.of(1, user.length, ...user, password.length, ...password)
    }
    if (method !== NOT_ACCEPTABLE) throw failed(`chose method ${method}, which was not offered`)
    throw this.#credentials === undefined
      ? unknown('asks who you are', 'Give --proxy-auth-file FILE with a line USER:PASSWORD.')
      : unknown('accepts no user and password', 'Try without --proxy-auth-file.')
  }

  #accepted(status: number): Uint8Array {
    if (status === 0) return this.#request()
    throw unknown('does not accept the user and password', 'Look at what --proxy-auth-file or the variable says.')
  }

  #request(): Uint8Array {
    this.#state = 'reply'
    const { host, port, address } = this.#target
    const name = utf8(host)
    const where = address === undefined ? [3, name.length, ...name] : [address.length === 4 ? 1 : 4, ...address]
    return Uint8Array.of(VERSION, 1, 0, ...where, port >> 8, port & 0xff)
  }

  #reply(): Socks5ClientStep | undefined {
    const { length } = this.#received
    const [reply, kind] = [this.#received.at(1), this.#received.at(3)]
    if (length > 1 && reply !== 0) {
      throw failed(
        `does not connect to ${this.#target.host}:${this.#target.port}: ${REPLIES[reply] ?? `reply ${reply}`}`,
      )
    }
    if (length < 5) return undefined
    const address = { 1: 4, 3: 1 + this.#received.at(4), 4: 16 }[kind]
    if (address === undefined) throw failed(`answered with address type ${kind}`)
    return this.#received.take(4 + address + 2) && { connected: true, rest: this.#received.rest() }
  }
}

function failed(what: string): SluiceError {
  return new SluiceError('ERR_SLUICE_PROXY', `the proxy ${what}`)
}

function unknown(what: string, remedy: string): SluiceError {
  return new SluiceError('ERR_SLUICE_AUTH', `the proxy ${what}`, { remedy })
}
