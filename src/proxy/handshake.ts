import { HttpProxy } from './http.ts'
import type { ProxyCredentials, ProxyFailure, ProxyProtocol, ProxyStep } from './protocol.ts'
import { Socks4 } from './socks4.ts'
import { Socks5 } from './socks5.ts'

/**
 * SOCKS5 (RFC 1928, RFC 1929), SOCKS4a, or an HTTP proxy (RFC 9110 §9.3.6 and absolute-form), told apart by the first byte.
 * With credentials, SOCKS4 is refused: it has none.
 */
export class ProxyHandshake implements ProxyProtocol {
  readonly #credentials: ProxyCredentials | undefined
  #protocol: ProxyProtocol | undefined

  constructor(credentials?: ProxyCredentials) {
    this.#credentials = credentials
  }

  push(bytes: Uint8Array): ProxyStep {
    const first = bytes[0]
    if (first === undefined) return {}
    this.#protocol ??= this.#choose(first)
    if (this.#protocol === undefined) return { error: `it speaks neither SOCKS nor HTTP (first byte ${first})` }
    return this.#protocol.push(bytes)
  }

  #choose(first: number): ProxyProtocol | undefined {
    if (first === 5) return new Socks5(this.#credentials)
    if (first === 4) return this.#credentials === undefined ? new Socks4() : undefined
    return first >= 0x41 && first <= 0x5a ? new HttpProxy(this.#credentials) : undefined
  }

  accepted(bound: { readonly host: string; readonly port: number }): Uint8Array {
    return this.#protocol?.accepted(bound) ?? new Uint8Array(0)
  }

  failed(failure: ProxyFailure): Uint8Array {
    return this.#protocol?.failed(failure) ?? new Uint8Array(0)
  }
}
