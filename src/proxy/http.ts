import { Collector, fromLatin1, latin1, sameText } from './bytes.ts'
import {
  MAX_HANDSHAKE,
  type ProxyCredentials,
  type ProxyFailure,
  type ProxyProtocol,
  type ProxyStep,
} from './protocol.ts'

const STATUS: Readonly<Record<ProxyFailure, string>> = {
  general: '502 Bad Gateway',
  policy: '403 Forbidden',
  network: '502 Bad Gateway',
  host: '502 Bad Gateway',
  refused: '502 Bad Gateway',
  timeout: '504 Gateway Timeout',
  unsupported: '501 Not Implemented',
}
const END = [13, 10, 13, 10]
/** Fields that are between the program and us (RFC 9110 §7.6.1). */
const OURS = /^(proxy-[a-z-]+|connection|keep-alive|te|upgrade):/i
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** An HTTP/1.1 proxy: CONNECT, and requests in absolute-form, one for each connection. */
export class HttpProxy implements ProxyProtocol {
  readonly #credentials: ProxyCredentials | undefined
  readonly #bytes = new Collector()
  #connect = false

  constructor(credentials?: ProxyCredentials) {
    this.#credentials = credentials
  }

  push(bytes: Uint8Array): ProxyStep {
    this.#bytes.push(bytes)
    const end = this.#bytes.indexOf(END)
    if (end < 0) {
      if (this.#bytes.length <= MAX_HANDSHAKE) return {}
      return { reply: respond('431 Request Header Fields Too Large'), error: 'HTTP: the request is too long' }
    }
    const [line = '', ...fields] = latin1(this.#bytes.take(end + 4)!)
      .slice(0, -4)
      .split('\r\n')
    if (!this.#letIn(fields)) {
      const challenge = 'Proxy-Authenticate: Basic realm="sluice"\r\n'
      return { reply: respond('407 Proxy Authentication Required', challenge), error: 'HTTP: wrong user or password' }
    }
    const connect = /^CONNECT (\[[^\]]+\]|[^:\s]+):(\d{1,5}) HTTP\/1\.[01]$/.exec(line)
    if (connect !== null) {
      this.#connect = true
      return this.#want(connect[1]!, connect[2]!, this.#bytes.rest())
    }
    const absolute =
      /^([A-Z]+) http:\/\/(?:[^@/\s]*@)?(\[[^\]]+\]|[^:/?\s]+)(?::(\d{1,5}))?([/?]\S*)? (HTTP\/1\.[01])$/.exec(line)
    if (absolute === null) {
      return { reply: respond('400 Bad Request'), error: 'HTTP: neither CONNECT nor a request with an http:// URL' }
    }
    const [, method, host, port, path = '/', version] = absolute
    const kept = fields.filter((field) => !OURS.test(field))
    const head = [
      `${method} ${path.startsWith('?') ? '/' : ''}${path} ${version}`,
      ...kept,
      'Connection: close',
      '',
      '',
    ]
    const rest = this.#bytes.rest()
    const first = new Uint8Array([...fromLatin1(head.join('\r\n')), ...rest])
    return this.#want(host!, port ?? '80', first)
  }

  #want(host: string, port: string, first: Uint8Array): ProxyStep {
    const number = Number(port)
    if (number < 1 || number > 65_535) {
      return { reply: respond('400 Bad Request'), error: `HTTP: ${port} is not a port` }
    }
    return { request: { command: 'connect', host: host.replace(/^\[(.*)\]$/, '$1'), port: number, first } }
  }

  #letIn(fields: readonly string[]): boolean {
    if (this.#credentials === undefined) return true
    const given = fields.find((field) => /^proxy-authorization:\s*basic\s/i.test(field))
    const { user, password } = this.#credentials
    return sameText(given?.replace(/^[^:]+:\s*basic\s+/i, '').trim() ?? '', base64(`${user}:${password}`))
  }

  accepted(): Uint8Array {
    return this.#connect ? fromLatin1('HTTP/1.1 200 Connection established\r\n\r\n') : new Uint8Array(0)
  }

  failed(failure: ProxyFailure): Uint8Array {
    return respond(STATUS[failure])
  }
}

function respond(status: string, fields = ''): Uint8Array {
  const body = `sluice: ${status}\n`
  return fromLatin1(
    `HTTP/1.1 ${status}\r\n${fields}Content-Type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  )
}

function base64(text: string): string {
  const bytes = fromLatin1(text)
  let out = ''
  for (let at = 0; at < bytes.length; at += 3) {
    const word = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
    for (let i = 0; i < 4; i++) out += at + i > bytes.length ? '=' : BASE64[(word >> (18 - 6 * i)) & 63]
  }
  return out
}
