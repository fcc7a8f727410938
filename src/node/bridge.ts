import { errnoOf, SluiceError } from '../errors/index.ts'
import { CloseCode, type CloseInfo, type MessageOpcode, Opcode, type Role } from '../websocket/index.ts'
import { type ByteStream, HIGH_MARK } from './byte-stream.ts'
import type { Slab } from './slab.ts'
import type { WebSocketStream } from './websocket.ts'

/** How a plain connection went. */
export interface BridgeOutcome {
  /** How the WebSocket ended; 1006 without a Close frame. */
  readonly close: CloseInfo
  /** What went wrong with the WebSocket, if anything did. */
  readonly error: Error | undefined
  /** What went wrong with the TCP side: a reset, most often. */
  readonly tcpError: Error | undefined
  /** Bytes of the TCP stream from the client to the target, and back. */
  readonly bytesUp: number
  readonly bytesDown: number
}

export interface BridgeOptions {
  /** Which end of the WebSocket this is: a server's TCP side is the target, a client's the local program. */
  readonly role: Role
  /** What the TCP side is called in close reasons: `db:5432`. */
  readonly name: string
  /**
   * A client's: how long to go on receiving after the local end of stream, counted from the last byte received, in ms.
   * Plain mode cannot say half-close, so the far side does not know that no more will come. Default 30 s.
   */
  readonly halfCloseTimeout?: number
  /** How long a TCP side that was ended may go on sending before it is cut, in ms. Default 5 s. */
  readonly lingerTimeout?: number
  readonly done?: (outcome: BridgeOutcome) => void
}

const NORMAL = new Set<number>([CloseCode.normal, CloseCode.none])

/**
 * Plain mode: one WebSocket is one TCP connection. Payload of binary messages goes to the TCP side in order, and what the
 * TCP side sends becomes binary messages; each direction stops reading when the other side does not take it.
 *
 * The ends, as far as a WebSocket can say them:
 * - a server's TCP side ends → Close 1000 after everything sent; it fails → Close 1011 with the reason;
 * - the peer's Close frame → the TCP side is ended once everything is delivered, and only then the Close is answered;
 * - the WebSocket is lost without a Close frame → the TCP side is reset, and a client's local reset loses the WebSocket;
 * - a client's TCP side ends → it goes on receiving (`halfCloseTimeout`), then Close 1000.
 */
export class Bridge {
  readonly #ws: WebSocketStream
  readonly #tcp: ByteStream
  readonly #options: BridgeOptions
  #up = 0
  #down = 0
  #tcpClosed = false
  #tcpEnded = false
  #endSent = false
  #discarding = false
  #close: CloseInfo | undefined
  #error: Error | undefined
  #tcpError: Error | undefined
  #halfClose: NodeJS.Timeout | undefined
  #linger: NodeJS.Timeout | undefined

  constructor(ws: WebSocketStream, tcp: ByteStream, options: BridgeOptions) {
    this.#ws = ws
    this.#tcp = tcp
    this.#options = options
  }

  start(): this {
    this.#tcp.start({
      read: (slab, start, end) => this.#tcpRead(slab, start, end),
      ended: () => this.#tcpEnd(),
      drained: () => this.#ws.resume(),
      finished: () => this.#tcpFinished(),
      closed: (error) => this.#tcpClose(error),
    })
    this.#ws.start({
      messageStart: (opcode) => this.#messageStart(opcode),
      payload: (bytes, slab) => this.#wsPayload(bytes, slab),
      closeReceived: (info) => this.#closeReceived(info),
      drained: () => this.#tcp.resume(),
      closed: (info, error) => this.#wsClosed(info, error),
    })
    return this
  }

  /** Ends both sides in an orderly way: the peer gets this close code. */
  shutDown(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  #tcpRead(slab: Slab, start: number, end: number): void {
    if (this.#discarding || !this.#ws.open) return
    this.#count(this.#options.role === 'client', end - start)
    this.#ws.send(slab, start, end)
    if (this.#ws.backlog >= HIGH_MARK) this.#tcp.pause()
  }

  #wsPayload(bytes: Buffer, slab: Slab): void {
    if (this.#tcpClosed || this.#endSent) return
    this.#count(this.#options.role === 'server', bytes.length)
    this.#halfClose?.refresh()
    this.#tcp.write(bytes, slab)
    if (this.#tcp.backlog >= HIGH_MARK) this.#ws.pause()
  }

  #count(up: boolean, bytes: number): void {
    if (up) this.#up += bytes
    else this.#down += bytes
  }

  #messageStart(opcode: MessageOpcode): void {
    if (opcode === Opcode.binary) return
    this.#ws.fail(
      new SluiceError('ERR_SLUICE_UNSUPPORTED', 'text message: plain mode carries bytes in binary messages', {
        closeCode: CloseCode.unsupported,
      }),
    )
  }

  #tcpEnd(): void {
    this.#tcpEnded = true
    if (this.#options.role === 'server') {
      this.#ws.close(CloseCode.normal)
    } else if (this.#close === undefined) {
      this.#halfClose = setTimeout(() => this.#ws.close(CloseCode.normal), this.#options.halfCloseTimeout ?? 30_000)
    }
  }

  #tcpClose(error: Error | undefined): void {
    this.#tcpClosed = true
    this.#tcpError = error
    clearTimeout(this.#halfClose)
    clearTimeout(this.#linger)
    if (this.#close !== undefined) return this.#report()
    if (this.#tcpEnded && error === undefined) {
      this.#ws.close(CloseCode.normal)
    } else if (this.#options.role === 'server') {
      this.#ws.close(CloseCode.internal, `${errnoOf(error ?? 'ECONNRESET')} ${this.#options.name}`)
    } else {
      this.#ws.destroy()
    }
    // Nothing takes what still comes, so reading goes on only to find the peer's Close frame.
    this.#ws.resume()
  }

  #closeReceived(info: CloseInfo): void {
    clearTimeout(this.#halfClose)
    if (this.#tcpClosed || (this.#options.role === 'client' && !NORMAL.has(info.code))) {
      this.#ws.close(info.code)
      if (!this.#tcpClosed) this.#tcp.reset()
    } else {
      this.#endTcp()
    }
  }

  /**
   * Ends the TCP side after what is queued. What it still sends has nobody to go to, and is read only to be dropped:
   * closing with unread data would make the kernel send a reset, which can destroy what was just delivered.
   */
  #endTcp(): void {
    this.#endSent = true
    this.#discarding = true
    this.#tcp.end()
    this.#tcp.resume()
  }

  #tcpFinished(): void {
    if (!this.#endSent) return
    this.#ws.close(CloseCode.normal)
    if (!this.#tcpClosed) this.#linger = setTimeout(() => this.#tcp.destroy(), this.#options.lingerTimeout ?? 5_000)
  }

  #wsClosed(info: CloseInfo, error: Error | undefined): void {
    clearTimeout(this.#halfClose)
    this.#close = info
    this.#error = error
    if (this.#tcpClosed) return this.#report()
    if (info.code === CloseCode.abnormal || error !== undefined) this.#tcp.reset()
    else if (!this.#endSent) this.#endTcp() // our own Close frame was answered
  }

  #report(): void {
    const close = this.#close ?? { code: CloseCode.abnormal, reason: '' }
    this.#options.done?.({
      close,
      error: this.#error,
      tcpError: this.#tcpError,
      bytesUp: this.#up,
      bytesDown: this.#down,
    })
  }
}
