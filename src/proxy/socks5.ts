import { addressText, Collector, latin1, sameText } from './bytes.ts'
import type { ProxyCredentials, ProxyFailure, ProxyProtocol, ProxyRequest, ProxyStep } from './protocol.ts'

const VERSION = 5
const METHOD_NONE = 0
const METHOD_PASSWORD = 2
const NO_METHOD = 0xff
const CONNECT = 1
const ASSOCIATE = 3
const REPLIES: Readonly<Record<ProxyFailure, number>> = {
  general: 1,
  policy: 2,
  network: 3,
  host: 4,
  refused: 5,
  timeout: 6,
  unsupported: 7,
}
const BAD_ADDRESS_TYPE = 8

/** SOCKS5 on the server's side: CONNECT and UDP ASSOCIATE (RFC 1928), user and password (RFC 1929). */
export class Socks5 implements ProxyProtocol {
  readonly #credentials: ProxyCredentials | undefined
  readonly #bytes = new Collector()
  #state: 'greeting' | 'password' | 'request' = 'greeting'

  constructor(credentials?: ProxyCredentials) {
    this.#credentials = credentials
  }

  push(bytes: Uint8Array): ProxyStep {
    this.#bytes.push(bytes)
    if (this.#state === 'greeting') return this.#greeting()
    return this.#state === 'password' ? this.#password() : this.#request()
  }

  #greeting(): ProxyStep {
    if (this.#bytes.length < 2) return {}
    const greeting = this.#bytes.take(2 + this.#bytes.at(1))
    if (greeting === undefined) return {}
    const method = this.#credentials === undefined ? METHOD_NONE : METHOD_PASSWORD
    if (!greeting.subarray(2).includes(method)) {
      return { reply: Uint8Array.of(VERSION, NO_METHOD), error: 'SOCKS5: no authentication method in common' }
    }
    this.#state = method === METHOD_NONE ? 'request' : 'password'
    const { request, reply, error } = this.push(new Uint8Array(0))
    const answer = Uint8Array.of(VERSION, method, ...(reply ?? []))
    return { reply: answer, ...(request === undefined ? {} : { request }), ...(error === undefined ? {} : { error }) }
  }

  #password(): ProxyStep {
    const bytes = this.#bytes
    if (bytes.length < 2) return {}
    const userEnd = 2 + bytes.at(1)
    if (bytes.length < userEnd + 1) return {}
    const all = bytes.take(userEnd + 1 + bytes.at(userEnd))
    if (all === undefined) return {}
    const { user, password } = this.#credentials!
    const right = sameText(latin1(all.subarray(2, userEnd)), user)
    const known = sameText(latin1(all.subarray(userEnd + 1)), password)
    if (all[0] !== 1 || !right || !known) return { reply: Uint8Array.of(1, 1), error: 'SOCKS5: wrong user or password' }
    this.#state = 'request'
    return { reply: Uint8Array.of(1, 0) }
  }

  #request(): ProxyStep {
    const bytes = this.#bytes
    if (bytes.length < 5) return {}
    const type = bytes.at(3)
    const length = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? 1 + bytes.at(4) : 0
    if (bytes.at(0) !== VERSION || length === 0) {
      return { reply: reply(BAD_ADDRESS_TYPE), error: `SOCKS5: address type ${type} is not known` }
    }
    const all = bytes.take(4 + length + 2)
    if (all === undefined) return {}
    const command = all[1] === CONNECT ? 'connect' : all[1] === ASSOCIATE ? 'associate' : undefined
    if (command === undefined) {
      return { reply: reply(REPLIES.unsupported), error: `SOCKS5: command ${all[1]} is not supported` }
    }
    const address = all.subarray(type === 3 ? 5 : 4, 4 + length)
    const host = type === 3 ? latin1(address) : addressText(address)
    const port = (all[4 + length]! << 8) | all[5 + length]!
    const request: ProxyRequest = { command, host, port, first: bytes.rest() }
    return { request }
  }

  accepted({ host, port }: { readonly host: string; readonly port: number }): Uint8Array {
    const four = host.split('.').map(Number)
    const address = four.length === 4 && four.every((byte) => byte >= 0 && byte <= 255) ? four : [0, 0, 0, 0]
    return reply(0, address, port)
  }

  failed(failure: ProxyFailure): Uint8Array {
    return reply(REPLIES[failure])
  }
}

function reply(code: number, address: readonly number[] = [0, 0, 0, 0], port = 0): Uint8Array {
  return Uint8Array.of(VERSION, code, 0, 1, ...address, port >> 8, port & 0xff)
}

/** A datagram of a UDP association (RFC 1928 §7); undefined for one that is cut, or a fragment. */
export function parseSocksDatagram(
  bytes: Uint8Array,
): { host: string; port: number; header: Uint8Array; payload: Uint8Array } | undefined {
  const type = bytes[3]
  const length = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? 1 + (bytes[4] ?? 0) : 0
  const end = 4 + length + 2
  if (length === 0 || bytes.length < end || bytes[2] !== 0) return undefined
  const address = bytes.subarray(type === 3 ? 5 : 4, 4 + length)
  return {
    host: type === 3 ? latin1(address) : addressText(address),
    port: (bytes[end - 2]! << 8) | bytes[end - 1]!,
    header: bytes.slice(0, end),
    payload: bytes.subarray(end),
  }
}
