import http from 'node:http'
import type { HttpAnswer, HttpClient } from '../carriers/index.ts'
import type { ServerUrl } from '../config/index.ts'
import type { CookieJar } from './cookies.ts'
import { type OpenOptions, type RequestHead, unreachable } from './open.ts'
import { reachServer } from './reach.ts'

/** Requests of a carrier over HTTP/1.1, on connections that are kept: through the proxy, and with the trust, of a WebSocket. */
export class NodeHttpClient implements HttpClient {
  readonly posts = 8
  readonly #url: ServerUrl
  readonly #headers: http.OutgoingHttpHeaders
  readonly #agent: http.Agent
  readonly #cookies: CookieJar | undefined

  /** @param head as `requestHead` gives it */
  constructor(url: ServerUrl, options: OpenOptions, { host, fields }: RequestHead) {
    this.#url = url
    this.#headers = { Host: host, ...Object.fromEntries(fields) }
    this.#cookies = options.cookies
    this.#agent = new http.Agent({ keepAlive: true })
    // Node takes a connection that comes later, which its types do not say.
    const agent = this.#agent as { createConnection?: unknown }
    agent.createConnection = (_: unknown, done: (error: Error | null, socket?: unknown) => void) => {
      reachServer(url, options, 'http/1.1').then((socket) => {
        // Between two requests, and before the first, the agent does not listen.
        socket.on('error', () => {})
        done(null, socket)
      }, done)
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  post(path: string, body: Uint8Array | undefined, signal: AbortSignal): Promise<HttpAnswer> {
    const typed = body === undefined ? {} : { 'Content-Type': 'application/octet-stream' }
    const headers = { ...this.#headers, ...typed, 'Content-Length': body?.length ?? 0 }
    return new Promise((resolve, reject) => {
      const request = http.request({
        agent: this.#agent,
        method: 'POST',
        path: `${this.#url.prefix}/http${path}`,
        headers,
        signal,
      })
      request.on('error', (error) => reject(signal.aborted ? reasonOf(signal) : unreachable(this.#url, error)))
      request.once('response', (response) => {
        this.#cookies?.take(response.headers['set-cookie'] ?? [])
        // Whoever reads is told; when it is given up, perhaps nobody does.
        response.on('error', () => {})
        resolve({ status: response.statusCode ?? 0, read: reader(response) })
      })
      request.end(body)
    })
  }
}

function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error('given up')
}

/** A stream's bytes, one call after another. */
export function reader(from: NodeJS.ReadableStream): HttpAnswer['read'] {
  const iterator = from[Symbol.asyncIterator]()
  return async () => {
    const { done, value } = await iterator.next()
    return done ? undefined : (value as Buffer)
  }
}
