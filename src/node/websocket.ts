import { createHash, randomFillSync } from 'node:crypto'
import { SluiceError } from '../errors/index.ts'
import type { Changes } from '../session/index.ts'
import {
  CloseCode,
  type CloseInfo,
  Connection,
  type MessageOpcode,
  Opcode,
  type Role,
  type Sha1Base64,
} from '../websocket/index.ts'
import type { ByteStream } from './byte-stream.ts'
import { type Holdable, LARGE_SLAB, Slab, sharedPool } from './slab.ts'

export const sha1Base64: Sha1Base64 = (text) => createHash('sha1').update(text).digest('base64')

/** How long the other side may take to answer our Close frame once it has left, in milliseconds. */
export const CLOSE_TIMEOUT = 30_000
/** How long it may take to end the TCP connection after that. */
const END_TIMEOUT = 2_000
/** Above this backlog a Pong waits, and only the latest is kept (RFC 6455 §5.5.3 allows it): pings cost no memory. */
const PONG_MARK = 64 * 1024
/** Pieces of a frame up to this size are moved together in their slab rather than written one by one. */
const MERGE_BELOW = 16 * 1024
/** A body up to this size is copied behind its header: cheaper than a second buffer to write. */
const COPY_BELOW = 4 * 1024
const NOTHING = new Uint8Array(0)
/** Of the frame that is made now. */
const bodyKey = new Uint8Array(4)

/** What a {@link WebSocketStream} tells its owner. */
export interface WebSocketEvents {
  messageStart?(opcode: MessageOpcode, declared: number | undefined): void
  /** Message bytes, which lie in `slab` and are the callee's until it returns; to keep them it holds the slab. */
  payload(bytes: Buffer, slab: Slab): void
  messageEnd?(): void
  /** The peer's Close frame, after all its data. Answer with `close(info.code)` when that is delivered. */
  closeReceived(info: CloseInfo): void
  drained(): void
  /** The end, exactly once. `error` is there when it was not orderly. */
  closed(info: CloseInfo, error: Error | undefined): void
}

export interface WebSocketStreamOptions {
  readonly role: Role
  /** The longest message accepted, in bytes; default: no limit, for nothing is assembled. */
  readonly maxMessage?: number
  /** Masking keys of zero: no work, for direct TLS only (SECURITY.md). Default: random keys. */
  readonly zeroMask?: boolean
  /** What was read after the handshake. */
  readonly early?: Buffer
  readonly closeTimeout?: number
}

/** Random bytes are drawn in bulk: one call for each key would cost more than the masking. */
class RandomKeys {
  readonly #pool = new Uint8Array(4096)
  #used = this.#pool.length

  readonly next = (into: Uint8Array): void => {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    for (let i = 0; i < 4; i++) into[i] = this.#pool[this.#used++]!
  }
}
const randomKeys = new RandomKeys()
const zeroKeys = (into: Uint8Array): void => void into.fill(0)

/** A WebSocket on a {@link ByteStream}, after the handshake: frames, pings, the closing handshake and its time limits. */
export class WebSocketStream {
  readonly stream: ByteStream
  readonly #connection: Connection
  readonly #closeTimeout: number
  /** Whether payload travels as it is: unmasked, or masked with keys of zero. */
  readonly #asIs: boolean
  #events: WebSocketEvents | undefined
  #early: Buffer | undefined
  #reading: Slab | undefined
  /** A run of merged payload in `#reading`, not yet handed out. */
  #runStart = 0
  #runEnd = 0
  #latePong: Uint8Array | undefined
  #heard = true
  #ending = false
  #timer: NodeJS.Timeout | undefined
  #error: Error | undefined

  constructor(stream: ByteStream, options: WebSocketStreamOptions) {
    this.stream = stream
    this.#early = options.early
    this.#closeTimeout = options.closeTimeout ?? CLOSE_TIMEOUT
    this.#asIs = options.role === 'server' || options.zeroMask === true
    this.#connection = new Connection(
      {
        messageStart: (opcode, declared) => this.#messageStart(opcode, declared),
        payload: (bytes) => this.#payload(bytes as Buffer),
        messageEnd: () => this.#messageEnd(),
        ping: (payload) => this.#ping(payload),
        pong: () => {},
        closeReceived: (info) => this.#closeReceived(info),
        failed: (error) => this.fail(error),
      },
      {
        role: options.role,
        maskKey: options.zeroMask ? zeroKeys : randomKeys.next,
        ...(options.maxMessage === undefined ? {} : { maxMessage: options.maxMessage }),
      },
    )
  }

  /** Begins to deliver; called once. */
  start(events: WebSocketEvents): void {
    this.#events = events
    this.stream.start({
      read: (slab, start, end) => this.#read(slab, start, end),
      ended: () => this.#ended(),
      drained: () => this.#drained(),
      finished: () => {},
      closed: (error) => this.#closed(error),
    })
    const early = this.#early
    this.#early = undefined
    if (early !== undefined && early.length > 0) this.#read(new Slab(early), 0, early.length)
  }

  get backlog(): number {
    return this.stream.backlog
  }

  /** Whether data can still be sent. */
  get open(): boolean {
    return !this.#connection.closeSent && !this.#ending
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.stream.resume()
  }

  /** Sends bytes `start` to `end` of a slab as one binary message, in place: the payload is masked where it lies. */
  send(slab: Slab, start: number, end: number): void {
    if (!this.open) return
    if (start >= this.#connection.headerLength(end - start)) {
      const from = this.#connection.frameInPlace(slab.bytes, start, end)
      this.stream.write(slab.bytes.subarray(from, end), slab)
    } else {
      this.stream.write(asBuffer(this.#connection.frame(slab.bytes.subarray(start, end))))
    }
  }

  /**
   * Sends one binary message of two parts. Memory is held until it has left; a short body is copied.
   *
   * @param changes whether the body may be masked where it lies, and head and frame header written into the bytes before it
   * @returns the key that the body was masked with, its first byte lowest; undefined if it was left as it is
   */
  sendParts(
    head: Uint8Array,
    headLength: number,
    body: Uint8Array = NOTHING,
    memory?: Holdable,
    changes: Changes = 'nothing',
  ): number | undefined {
    if (!this.open) return undefined
    if (body.length < COPY_BELOW || !(this.#asIs || changes !== 'nothing'))
      return this.#sendCopy(head, headLength, body)
    const room = this.#connection.headerLength(headLength + body.length) + headLength
    const key = this.#asIs ? undefined : bodyKey
    if (changes === 'before' && body.byteOffset >= room) {
      const whole = Buffer.from(body.buffer, body.byteOffset - room, room + body.length)
      this.#connection.frameParts(whole, room, head, headLength, body, key)
      this.stream.write(whole, memory)
    } else {
      const front = Buffer.allocUnsafe(room)
      this.#connection.frameParts(front, room, head, headLength, body, key)
      this.stream.cork()
      this.stream.write(front)
      this.stream.write(asBuffer(body), memory)
      this.stream.uncork()
    }
    return key && key[0]! | (key[1]! << 8) | (key[2]! << 16) | (key[3]! << 24)
  }

  #sendCopy(head: Uint8Array, headLength: number, body: Uint8Array): undefined {
    const room = this.#connection.headerLength(headLength + body.length) + headLength
    // The copy is fastest where both lie alike in words of eight bytes.
    const bodyAt = room + ((body.byteOffset - room) & 7)
    const end = bodyAt + body.length
    const slab = end > LARGE_SLAB / 4 && end <= LARGE_SLAB ? sharedPool.acquire(LARGE_SLAB) : undefined
    const bytes = slab?.bytes ?? Buffer.allocUnsafe(end)
    const from = this.#connection.frameCopy(bytes, bodyAt, head, headLength, body)
    this.stream.write(bytes.subarray(from, end), slab)
    slab?.release()
  }

  /** Sends one whole message, copied. */
  sendMessage(opcode: MessageOpcode, payload: Uint8Array): void {
    if (this.open) this.stream.write(asBuffer(this.#connection.frame(payload, opcode)))
  }

  /** Sends a Ping, unless our own data is already waiting to leave, which says as much. */
  ping(): void {
    if (this.open && this.backlog === 0) this.stream.write(asBuffer(this.#connection.ping()))
  }

  /** Whether anything has come since the last call. A side that is not reading cannot know, and says yes. */
  takeHeard(): boolean {
    const heard = this.#heard || this.stream.paused
    this.#heard = false
    return heard
  }

  /**
   * Sends a Close frame after what is queued, or answers the peer's. Then the connection ends within the close timeout.
   * More data may come until the peer's Close frame does.
   */
  close(code: number, reason?: string): void {
    const frame = this.#connection.close(code, reason)
    if (frame === undefined) return
    this.stream.write(asBuffer(frame))
    if (this.#connection.closeReceived !== undefined) this.#endTransport()
    else this.#limit(this.#closeTimeout)
  }

  /** The peer broke a rule, or sent what is not accepted: tells it why, reads no further, ends the connection. */
  fail(error: SluiceError): void {
    if (this.#ending) return
    this.#error ??= error
    const frame = this.#connection.close(error.closeCode ?? CloseCode.protocolError, error.message)
    if (frame !== undefined) this.stream.write(asBuffer(frame))
    this.#endTransport()
  }

  /** Ends at once without a Close frame: the other side sees 1006, as for any lost connection. */
  destroy(error?: Error): void {
    this.#error ??= error
    this.stream.destroy()
  }

  #read(slab: Slab, start: number, end: number): void {
    this.#heard = true
    if (this.#ending) return
    this.#reading = slab
    this.#connection.receive(slab.bytes.subarray(start, end))
    this.#flushRun()
    this.#reading = undefined
  }

  #messageStart(opcode: MessageOpcode, declared: number | undefined): void {
    if (this.#events?.messageStart === undefined) return
    // Whoever wants whole messages wants what came before this one first; for bytes the borders mean nothing.
    if (this.#events.messageEnd !== undefined || opcode !== Opcode.binary) this.#flushRun()
    this.#events.messageStart(opcode, declared)
  }

  #messageEnd(): void {
    if (this.#events?.messageEnd === undefined) return
    this.#flushRun()
    this.#events.messageEnd()
  }

  /**
   * Collects the payloads of one read. Those of small frames are moved together over the headers between them, so that a
   * thousand one-byte frames become one write.
   */
  #payload(piece: Buffer): void {
    const bytes = this.#reading!.bytes
    const start = piece.byteOffset - bytes.byteOffset
    if (this.#runEnd > this.#runStart && piece.length <= MERGE_BELOW) {
      if (start !== this.#runEnd) bytes.copyWithin(this.#runEnd, start, start + piece.length)
      this.#runEnd += piece.length
      return
    }
    this.#flushRun()
    this.#runStart = start
    this.#runEnd = start + piece.length
  }

  #flushRun(): void {
    if (this.#runEnd === this.#runStart) return
    const slab = this.#reading!
    const run = slab.bytes.subarray(this.#runStart, this.#runEnd)
    this.#runStart = this.#runEnd = 0
    if (!this.#ending) this.#events?.payload(run, slab)
  }

  #ping(payload: Uint8Array): void {
    if (!this.open) return
    if (this.backlog > PONG_MARK) this.#latePong = payload
    else this.stream.write(asBuffer(this.#connection.pong(payload)))
  }

  #drained(): void {
    const late = this.#latePong
    this.#latePong = undefined
    if (late !== undefined && this.open) this.stream.write(asBuffer(this.#connection.pong(late)))
    this.#events?.drained()
  }

  #closeReceived(info: CloseInfo): void {
    this.#flushRun()
    if (this.#connection.closeSent) this.#endTransport()
    else this.#events?.closeReceived(info)
  }

  /** RFC 6455 §7.1.1: the server ends the TCP connection first; a client waits for that, for a while. */
  #endTransport(): void {
    this.#ending = true
    this.stream.resume()
    if (this.#connection.role === 'server' || this.#error !== undefined) this.stream.end()
    this.#limit(END_TIMEOUT)
  }

  /** Ends the connection after this long, but not while a slow reader still takes what was queued before. */
  #limit(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => (this.backlog === 0 || this.#error ? this.stream.destroy() : this.#limit(milliseconds)),
      milliseconds,
    )
    this.#timer.unref()
  }

  /** The TCP stream ended: with a Close frame before it all is well, without one the connection is lost. */
  #ended(): void {
    if (this.#connection.closeReceived === undefined) this.stream.destroy()
    else this.stream.end()
  }

  #closed(error: Error | undefined): void {
    clearTimeout(this.#timer)
    const info = this.#connection.receiveEnd()
    const reason = this.#error ?? (info.code === CloseCode.abnormal ? (error ?? lost()) : undefined)
    this.#events?.closed(info, reason)
  }
}

function lost(): SluiceError {
  return new SluiceError('ERR_SLUICE_CLOSED', 'the WebSocket ended without a Close frame (1006)', {
    closeCode: CloseCode.abnormal,
  })
}

/** The same memory as a Buffer: what `node:net` writes without a conversion of its own. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
