import type { ClientLink } from '../link/index.ts'
import {
  MAX_HANDSHAKE,
  type ProxyCredentials,
  type ProxyFailure,
  ProxyHandshake,
  type ProxyRequest,
} from '../proxy/index.ts'
import { OpenError } from '../wire/index.ts'
import { dismiss } from './byte-stream.ts'
import type { SocketStream } from './socket.ts'
import type { Toucher } from './splice.ts'
import { associate } from './udp-associate.ts'

/** How long a program may take to say what it wants, in milliseconds. */
const HANDSHAKE_TIMEOUT = 10_000

/** How a negotiation ended: with a request, with an error that was answered, or with the program going away. */
export type Negotiated =
  | { readonly handshake: ProxyHandshake; readonly request: ProxyRequest }
  | { readonly error: string }
  | { readonly over: true }

/** Asks a program, by SOCKS or HTTP, where its connection is to go. A UDP association is served here until its end. */
export function negotiate(
  local: SocketStream,
  link: ClientLink & Toucher,
  credentials: ProxyCredentials | undefined,
  done: (result: Negotiated) => void,
): { abort(): void } {
  const handshake = new ProxyHandshake(credentials)
  let length = 0
  let settled = false
  const settle = (result: Negotiated) => {
    if (settled) return
    settled = true
    clearTimeout(limit)
    done(result)
  }
  const refuse = (error: string, reply?: Uint8Array) => {
    if (reply !== undefined) local.write(Buffer.from(reply))
    dismiss(local)
    settle({ error })
  }
  const limit = setTimeout(() => refuse('the program did not say where to go'), HANDSHAKE_TIMEOUT)
  local.start({
    read: (slab, start, end) => {
      if (settled) return
      length += end - start
      const { reply, request, error } = handshake.push(slab.bytes.subarray(start, end))
      if (error !== undefined) return refuse(error, reply)
      if (reply !== undefined) local.write(Buffer.from(reply))
      if (request === undefined) {
        if (length > MAX_HANDSHAKE) refuse('the handshake is too long')
        return
      }
      local.pause()
      if (request.command === 'connect') return settle({ handshake, request })
      associate(local, link, handshake, () => settle({ over: true }))
      clearTimeout(limit)
    },
    ended: () => local.end(),
    drained: () => {},
    finished: () => {},
    closed: () => settle({ over: true }),
  })
  return { abort: () => local.reset() }
}

const FAILURES: Readonly<Record<number, ProxyFailure>> = {
  [OpenError.NOT_ALLOWED]: 'policy',
  [OpenError.NETWORK_UNREACHABLE]: 'network',
  [OpenError.HOST_UNREACHABLE]: 'host',
  [OpenError.NAME_NOT_FOUND]: 'host',
  [OpenError.REFUSED]: 'refused',
  [OpenError.TIMED_OUT]: 'timeout',
}

/** OPEN_FAILED as proxies say it. */
export function proxyFailure(code: number): ProxyFailure {
  return FAILURES[code] ?? 'general'
}
