import http2 from 'node:http2'
import type { ServerUrl } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { type Carrier, type CarrierEvents, OWNED } from '../link/index.ts'
import type { Memory } from '../session/index.ts'
import { ANSWER_MARK, PART_END, PartReader } from '../wire/index.ts'
import { noAnswer, OPEN_TIMEOUT, type OpenOptions, requestHead } from './open.ts'
import { PartWriter } from './part-writer.ts'
import { reachServer } from './reach.ts'
import { within } from './within.ts'

/** The session has windows of its own; HTTP/2's are not to be what limits. */
export const HTTP2_WINDOW: number = 16 * 1024 * 1024

/**
 * Opens a carrier that is one request over HTTP/2, both of whose bodies are streamed (spec/http-1.md §2, `duplex`). Resolves
 * once the answer has begun to come.
 *
 * @throws SluiceError as `reachServer`, and `ERR_SLUICE_REFUSED`, `ERR_SLUICE_AUTH`
 */
export async function openHttp2(
  url: ServerUrl,
  route: string | undefined,
  options: OpenOptions & { readonly maxMessage: number },
): Promise<Http2Carrier> {
  const { timeout = OPEN_TIMEOUT } = options
  const { host, fields } = await requestHead(url, options)
  if (!url.secure)
    throw new SluiceError('ERR_SLUICE_REFUSED', 'HTTP/2 is used over TLS only', { remedy: 'Use wss://.' })
  const socket = await reachServer(url, options, 'h2')
  const session = http2.connect(`https://${url.authority}`, {
    createConnection: () => socket,
    settings: { initialWindowSize: HTTP2_WINDOW, enablePush: false },
  })
  session.on('error', () => {})
  session.once('connect', () => session.setLocalWindowSize(HTTP2_WINDOW))
  const query = route ? `?duplex&route=${encodeURIComponent(route)}` : '?duplex'
  const stream = session.request({
    ':method': 'POST',
    ':authority': host,
    ':path': `${url.prefix}/http${query}`,
    ...Object.fromEntries(fields),
    'content-type': 'application/octet-stream',
  })
  const late = () => noAnswer(url, timeout)
  return within({ timeout, late, signal: options.signal }, ({ done, fail }) => {
    const ended = () =>
      fail(new SluiceError('ERR_SLUICE_UNREACHABLE', 'the request over HTTP/2 ended without an answer'))
    stream.once('error', fail).once('close', ended)
    stream.once('response', (headers) => {
      const status = headers[':status']
      options.cookies?.take(headers['set-cookie'] ?? [])
      if (status !== 200) return fail(refusedWith(status))
      stream.once('readable', () => {
        const mark = stream.read(1) as Buffer | null
        if (mark?.[0] !== ANSWER_MARK) return fail(refusedWith(status))
        done(new Http2Carrier(session, stream, options.maxMessage))
      })
    })
    return (error) => {
      stream.off('error', fail).off('close', ended)
      if (error === undefined) return
      stream.on('error', () => {})
      session.destroy()
    }
  })
}

function refusedWith(status: number | undefined): SluiceError {
  const code = status === 401 ? 'ERR_SLUICE_AUTH' : 'ERR_SLUICE_REFUSED'
  return new SluiceError(code, `the server answers over HTTP/2 with ${status}, or with a page of its own`, {
    ...(status === undefined ? {} : { status }),
  })
}

/** A carrier that is one request: the parts are its bodies. */
export class Http2Carrier implements Carrier {
  readonly #session: http2.ClientHttp2Session
  readonly #stream: http2.ClientHttp2Stream
  readonly #writer: PartWriter
  readonly #maxMessage: number
  #events: CarrierEvents | undefined
  #why: string | undefined
  #over = false

  constructor(session: http2.ClientHttp2Session, stream: http2.ClientHttp2Stream, maxMessage: number) {
    this.#session = session
    this.#stream = stream
    this.#maxMessage = maxMessage
    this.#writer = new PartWriter(stream)
    stream.once('error', (error) => this.#finish(messageOf(error)))
    stream.once('close', () => this.#finish('the request over HTTP/2 ended'))
  }

  start(events: CarrierEvents): void {
    this.#events = events
    if (this.#why !== undefined) return void queueMicrotask(() => events.closed(this.#why!))
    const sink = {
      begin: (length: number) => events.begin(length),
      part: (bytes: Uint8Array) => events.part(bytes, OWNED),
      end: () => events.end(),
    }
    const reader = new PartReader(sink, this.#maxMessage)
    this.#stream.on('data', (bytes: Buffer) => {
      if (this.#over) return
      try {
        reader.push(bytes)
      } catch (error) {
        return this.#finish(messageOf(error))
      }
      if (reader.ended) this.#finish('the server ended it')
    })
    this.#stream.resume()
  }

  send(head: Uint8Array, headLength: number, body?: Uint8Array, memory?: Memory): undefined {
    if (!this.#over) this.#writer.send(head, headLength, body, memory)
  }

  cork(): void {
    this.#stream.cork()
  }

  uncork(): void {
    this.#stream.uncork()
  }

  close(): void {
    if (this.#over) return
    this.#stream.end(Buffer.of(PART_END))
    this.#stream.once('finish', () => this.#finish('closed'))
  }

  destroy(): void {
    this.#finish('given up')
  }

  #finish(why: string): void {
    if (this.#over) return
    this.#over = true
    if (why === 'closed') this.#session.close()
    else this.#session.destroy()
    if (this.#events === undefined) this.#why = why
    else this.#events.closed(why)
  }
}
