import type { RequestListener } from 'node:http'
import http2 from 'node:http2'
import type https from 'node:https'
import type { TLSSocket } from 'node:tls'
import { HTTP2_WINDOW } from '../../node/index.ts'

/** A connection without a stream is closed after so long, in milliseconds. */
const IDLE = 65_000

/** What a CA asks for by ALPN to see whether a name is ours (RFC 8737 §3). */
export const ACME_PROTOCOL = 'acme-tls/1'

/** HTTP/2 on the port of an HTTPS server, for whoever asks for it by ALPN (RFC 9113 §3.2); WebSockets stay on HTTP/1.1. */
export class Http2Side {
  readonly #sessions = new Set<http2.ServerHttp2Session>()

  /** @param headerBytes how long a request's header may be */
  constructor(server: https.Server, headerBytes: number, onRequest: RequestListener) {
    const http1 = server.listeners('secureConnection')
    const side = http2.createServer({
      settings: {
        initialWindowSize: HTTP2_WINDOW,
        maxConcurrentStreams: 100,
        maxHeaderListSize: headerBytes,
      },
    })
    side.on('session', (session) => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
      session.setLocalWindowSize(HTTP2_WINDOW)
      session.setTimeout(IDLE, () => session.close())
    })
    side.on('sessionError', () => {})
    // The compatibility layer has what RequestListener's request and response have, as far as it is used here.
    side.on(
      'request',
      onRequest as unknown as (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void,
    )
    server.removeAllListeners('secureConnection')
    server.on('secureConnection', (socket: TLSSocket) => {
      // A CA that asks whether a name is ours has seen the certificate: that is all.
      if (socket.alpnProtocol === ACME_PROTOCOL) socket.destroy()
      else if (socket.alpnProtocol === 'h2') side.emit('connection', socket)
      else for (const handle of http1) handle.call(server, socket)
    })
  }

  /** Connections take no new requests; those without one end. */
  close(): void {
    for (const session of this.#sessions) session.close()
  }

  /** Ends all at once. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy()
  }
}
