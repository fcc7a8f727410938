import { addressText, Collector, latin1 } from './bytes.ts'
import { MAX_HANDSHAKE, type ProxyFailure, type ProxyProtocol, type ProxyStep } from './protocol.ts'

const GRANTED = 0x5a
const REJECTED = 0x5b

/** SOCKS4 and SOCKS4a on the server's side: CONNECT, by address or by name. */
export class Socks4 implements ProxyProtocol {
  readonly #bytes = new Collector()

  push(bytes: Uint8Array): ProxyStep {
    this.#bytes.push(bytes)
    const all = this.#bytes
    if (all.length > MAX_HANDSHAKE) return { reply: answer(REJECTED), error: 'SOCKS4: the request is too long' }
    const userEnd = all.indexOf([0], 8)
    if (userEnd < 0) return {}
    // 4a: an address 0.0.0.x says that a name follows.
    const named = all.at(4) === 0 && all.at(5) === 0 && all.at(6) === 0 && all.at(7) !== 0
    const end = named ? all.indexOf([0], userEnd + 1) : userEnd
    if (end < 0) return {}
    const request = all.take(end + 1)!
    if (request[1] !== 1) return { reply: answer(REJECTED), error: `SOCKS4: command ${request[1]} is not supported` }
    const host = named ? latin1(request.subarray(userEnd + 1, end)) : addressText(request.subarray(4, 8))
    const port = (request[2]! << 8) | request[3]!
    return { request: { command: 'connect', host, port, first: all.rest() } }
  }

  accepted(): Uint8Array {
    return answer(GRANTED)
  }

  failed(_failure: ProxyFailure): Uint8Array {
    return answer(REJECTED)
  }
}

function answer(code: number): Uint8Array {
  return Uint8Array.of(0, code, 0, 0, 0, 0, 0, 0)
}
