import type { ClientLink, Host } from '../link/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import { OPEN_ERRORS, ResetCode, type Target } from '../wire/index.ts'

/** Where to connect to, as the server resolves it. */
export interface SocketAddress {
  readonly hostname: string
  readonly port: number
}

export interface SocketOptions {
  /** Whether writing may go on after the far end has ended. Default false: then both ends end. */
  readonly allowHalfOpen?: boolean
}

/** What `opened` resolves with. */
export interface SocketInfo {
  /** The address that the server dialled, if it says so. */
  readonly remoteAddress?: string
  readonly localAddress?: string
}

/** A connection failed; `code` is an errno name such as `ECONNREFUSED`. The class and the wording are WinterTC's. */
export class SocketError extends TypeError {
  override readonly name: string = 'SocketError'
  readonly code: string

  constructor(code: string, message: string) {
    super(`SocketError: ${message}`)
    this.code = code
  }
}

const HIGH_WATER = 64 * 1024

/**
 * A TCP connection that the server makes for us, in the shape of WinterTC's Sockets API. It can be used at once: what is written
 * before it is open travels with the request to open it.
 *
 * @example
 * const socket = tunnel.connect({ hostname: 'redis', port: 6379 })
 * const writer = socket.writable.getWriter()
 * await writer.write(new TextEncoder().encode('PING\r\n'))
 * const { value } = await socket.readable.getReader().read()
 */
export class TunnelSocket {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  /** Resolves when the target is connected; rejects with a {@link SocketError}. */
  readonly opened: Promise<SocketInfo>
  /** Resolves when both directions are over; rejects when the connection broke. */
  readonly closed: Promise<void>
  readonly secureTransport = 'off'
  readonly upgraded = false
  readonly #machine: SocketMachine

  constructor(link: ClientLink, host: Host, target: Target, name: string, options: SocketOptions = {}) {
    this.#machine = new SocketMachine(link, host, target, name, options.allowHalfOpen ?? false)
    const machine = this.#machine
    this.readable = machine.readable
    this.writable = machine.writable
    this.opened = machine.opened
    this.closed = machine.closed
  }

  /** Ends both directions: what was written is still delivered, what comes is dropped. Resolves with `closed`. */
  close(): Promise<void> {
    this.#machine.close()
    return this.closed
  }

  /** Part of the API; a stream of a tunnel has no TLS of its own. */
  startTls(): never {
    throw new SocketError('EOPNOTSUPP', 'a tunnelled socket has no startTls: use a TLS library on its streams')
  }
}

/** The two web streams of a socket on one stream of a session. */
class SocketMachine {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  readonly opened: Promise<SocketInfo>
  readonly closed: Promise<void>
  readonly #link: ClientLink
  readonly #name: string
  readonly #halfOpen: boolean
  #stream: Stream | undefined
  #early: Uint8Array[] = []
  #endEarly = false
  #abandoned = false
  #reader!: ReadableStreamDefaultController<Uint8Array>
  #writer!: WritableStreamDefaultController
  #delivered = 0
  #consumed = 0
  #readOver = false
  #dropping = false
  #writeOver = false
  #goOn: (() => void) | undefined
  #resolveOpened!: (info: SocketInfo) => void
  #rejectOpened!: (error: SocketError) => void
  #resolveClosed!: () => void
  #rejectClosed!: (error: SocketError) => void

  constructor(link: ClientLink, host: Host, target: Target, name: string, halfOpen: boolean) {
    this.#link = link
    this.#name = name
    this.#halfOpen = halfOpen
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve
      this.#rejectOpened = reject
    })
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve
      this.#rejectClosed = reject
    })
    // Whoever looks at the streams alone is not to be bothered by these.
    this.opened.catch(() => {})
    this.closed.catch(() => {})
    this.readable = new ReadableStream(
      {
        start: (controller) => void (this.#reader = controller),
        pull: () => this.#consume(),
        cancel: () => this.#cancel(),
      },
      { highWaterMark: HIGH_WATER, size: (chunk) => chunk.byteLength },
    )
    this.writable = new WritableStream({
      start: (controller) => void (this.#writer = controller),
      write: (chunk) => this.#write(chunk),
      close: () => this.#endWriting(),
      abort: () => this.#abort(),
    })
    // A turn later, what the application writes at once is there to travel along.
    link.withSession(() => host.defer(() => this.#open(target)))
  }

  #open(target: Target): void {
    if (this.#abandoned) return this.#settle()
    if (!this.#link.ready) return this.#failed(0, 'the session is over')
    const stream = this.#link.open(target, this.#handler())
    this.#stream = stream
    for (const chunk of this.#early) stream.write(chunk)
    this.#early = []
    if (this.#endEarly) stream.end()
    this.#goOn?.()
  }

  #write(chunk: Uint8Array): Promise<void> | undefined {
    if (!(ArrayBuffer.isView(chunk) || (chunk as unknown) instanceof ArrayBuffer)) {
      throw new SocketError('EINVAL', 'only bytes can be written: a Uint8Array, another view, or an ArrayBuffer')
    }
    const copy = ArrayBuffer.isView(chunk)
      ? new Uint8Array(chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.byteLength) as ArrayBuffer)
      : new Uint8Array((chunk as ArrayBuffer).slice(0))
    if (this.#stream === undefined) {
      this.#early.push(copy)
      return new Promise((resolve) => (this.#goOn = resolve))
    }
    this.#link.touch()
    if (this.#stream.write(copy)) return undefined
    return new Promise((resolve) => (this.#goOn = resolve))
  }

  #endWriting(): void {
    this.#writeOver = true
    this.#link.touch()
    if (this.#stream === undefined) this.#endEarly = true
    else this.#stream.end()
  }

  #abort(): void {
    if (this.#stream === undefined) this.#abandoned = true
    else {
      this.#link.touch()
      this.#stream.abort(ResetCode.CANCELLED)
    }
    this.#fail(new SocketError('ECONNABORTED', `the connection to ${this.#name} was aborted`))
  }

  close(): void {
    if (!this.#writeOver) {
      this.#writeOver = true
      this.#writer.error(new SocketError('EPIPE', 'the socket was closed'))
      if (this.#stream === undefined) this.#abandoned = true
      else {
        this.#link.touch()
        this.#stream.end()
      }
    }
    this.#cancel()
    if (!this.#readOver) {
      this.#readOver = true
      this.#reader.close()
    }
    if (this.#stream === undefined) this.#settle()
  }

  /** Nobody reads any more: what comes is dropped, so that the peer can end. */
  #cancel(): void {
    this.#readOver = true
    this.#dropping = true
    this.#consumeAll()
  }

  #consume(): void {
    if (this.#stream === undefined || this.#dropping) return
    const queued = HIGH_WATER - (this.#reader.desiredSize ?? HIGH_WATER)
    this.#give(this.#delivered - queued - this.#consumed)
  }

  #consumeAll(): void {
    this.#give(this.#delivered - this.#consumed)
  }

  #give(bytes: number): void {
    if (bytes <= 0 || this.#stream === undefined) return
    this.#consumed += bytes
    this.#link.touch()
    this.#stream.consume(bytes)
  }

  /** What the stream tells. */
  #handler(): StreamHandler {
    return {
      data: (bytes) => this.#data(bytes),
      ended: () => this.#ended(),
      opened: (address) => this.#resolveOpened(address === '' ? {} : { remoteAddress: address }),
      failed: (code, text) => this.#failed(code, text),
      reset: (code, text) => this.#reset(code, text),
      writable: () => {
        const goOn = this.#goOn
        this.#goOn = undefined
        goOn?.()
      },
      closed: () => this.#settle(),
    }
  }

  #data(bytes: Uint8Array): void {
    this.#delivered += bytes.length
    if (this.#dropping) return this.#consumeAll()
    this.#reader.enqueue(new Uint8Array(bytes))
    this.#consume()
  }

  #ended(): void {
    if (!this.#readOver) {
      this.#readOver = true
      this.#reader.close()
    }
    if (this.#halfOpen || this.#writeOver) return
    this.#writeOver = true
    this.#writer.error(new SocketError('EPIPE', `${this.#name} ended the connection`))
    this.#stream!.end()
  }

  #failed(code: number, text: string): void {
    const { errno } = OPEN_ERRORS[code] ?? OPEN_ERRORS[0]!
    this.#fail(new SocketError(errno, `${this.#name} could not be reached: ${text || errno}`))
  }

  #reset(code: number, text: string): void {
    const lost = code === ResetCode.SESSION_LOST
    this.#fail(
      lost
        ? new SocketError('ENETRESET', `the connection to ${this.#name} was lost with the session: ${text}`)
        : new SocketError('ECONNRESET', `${this.#name} reset the connection`),
    )
  }

  #settle(): void {
    this.#rejectOpened(new SocketError('ECONNABORTED', 'the socket was closed before it was open'))
    this.#resolveClosed()
  }

  #fail(error: SocketError): void {
    this.#rejectOpened(error)
    this.#rejectClosed(error)
    if (!this.#readOver) this.#reader.error(error)
    if (!this.#writeOver) this.#writer.error(error)
    this.#readOver = this.#writeOver = true
    this.#goOn?.()
  }
}
