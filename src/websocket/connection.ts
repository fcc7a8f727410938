import { SluiceError } from '../errors/index.ts'
import { CloseCode, decodeClose, encodeClose } from './close.ts'
import { FrameDecoder, type Role } from './decoder.ts'
import { headerLength, writeHeaderBefore } from './header.ts'
import { applyMask, copyMasked } from './mask.ts'
import { type FrameOpcode, type MessageOpcode, Opcode } from './opcode.ts'

/** How a WebSocket ended (RFC 6455 §7.1.5, §7.1.6). */
export interface CloseInfo {
  /** The peer's close code; 1005 if its Close frame had none, 1006 if no Close frame came. */
  readonly code: number
  readonly reason: string
}

/** What a connection tells its owner, in the order of the bytes, before `receive` returns. */
export interface ConnectionEvents {
  /** @param declared the length of the message, if it is not fragmented */
  messageStart(opcode: MessageOpcode, declared: number | undefined): void
  /** Part of a message, unmasked in place: valid as long as the bytes given to `receive` are. */
  payload(bytes: Uint8Array): void
  messageEnd(): void
  /** The peer asks for a Pong with this payload (RFC 6455 §5.5.2): answer with {@link Connection.pong}. */
  ping(payload: Uint8Array): void
  pong(payload: Uint8Array): void
  /** The peer's Close frame: nothing follows. Answer with {@link Connection.close} once what came is delivered. */
  closeReceived(info: CloseInfo): void
  /** The peer broke a rule: send {@link Connection.close} with `error.closeCode`, then end the transport (§7.1.7). */
  failed(error: SluiceError): void
}

export interface ConnectionOptions {
  readonly role: Role
  /** The longest message accepted, in bytes; default: no limit (payload is not kept here). */
  readonly maxMessage?: number
  /**
   * A client's source of masking keys: writes four bytes at `offset`. RFC 6455 §5.3 wants them unpredictable; a source that
   * leaves zeros makes masking no work, which is for direct TLS only (see SECURITY.md).
   */
  readonly maskKey?: (into: Uint8Array) => void
}

/**
 * One end of a WebSocket after the handshake (RFC 6455 §5 to §7), without I/O: bytes go in by {@link receive}, events come
 * out by the {@link ConnectionEvents}, and the methods that send return bytes for the caller to write, in call order.
 */
export class Connection {
  readonly role: Role
  readonly #events: ConnectionEvents
  readonly #decoder: FrameDecoder
  readonly #maskKey: ((into: Uint8Array) => void) | undefined
  readonly #key = new Uint8Array(4)
  #closeSent = false
  #received: CloseInfo | undefined
  #failed = false

  constructor(events: ConnectionEvents, options: ConnectionOptions) {
    if (options.role === 'client' && options.maskKey === undefined) {
      throw new SluiceError('ERR_SLUICE_MISUSE', 'a client needs a source of masking keys (RFC 6455 §5.3)')
    }
    this.role = options.role
    this.#events = events
    this.#maskKey = options.role === 'client' ? options.maskKey : undefined
    this.#decoder = new FrameDecoder(
      {
        messageStart: (opcode, declared) => events.messageStart(opcode, declared),
        payload: (bytes) => events.payload(bytes),
        messageEnd: () => events.messageEnd(),
        control: (opcode, payload) => this.#control(opcode, payload),
      },
      options,
    )
  }

  /** Whether our Close frame has been made. No data may be sent after it. */
  get closeSent(): boolean {
    return this.#closeSent
  }

  /** The peer's Close frame, if it has come. */
  get closeReceived(): CloseInfo | undefined {
    return this.#received
  }

  /** Takes the next bytes from the transport and may change them. Never throws: a violation is the event `failed`. */
  receive(bytes: Uint8Array): void {
    if (this.#failed || this.#received !== undefined) return
    try {
      this.#decoder.decode(bytes)
    } catch (error) {
      // The Close frame ends the decoding by an exception of its own; see #control.
      if (error === STOP) return
      if (!(error instanceof SluiceError)) throw error
      this.#failed = true
      this.#events.failed(error)
    }
  }

  /** The transport's end of stream. Returns how the WebSocket ended: 1006 unless a Close frame had come. */
  receiveEnd(): CloseInfo {
    return this.#received ?? { code: CloseCode.abnormal, reason: '' }
  }

  /** How many bytes a frame of ours puts before a payload of this length: the headroom to leave. */
  headerLength(payloadLength: number): number {
    return headerLength(payloadLength, this.#maskKey !== undefined)
  }

  /**
   * Makes a data frame in place: writes the header into the bytes before `start` and masks the payload where it lies.
   *
   * @returns where the frame starts; it ends at `end`
   * @throws SluiceError `ERR_SLUICE_MISUSE` after our Close frame, or without headroom
   */
  frameInPlace(bytes: Uint8Array, start: number, end: number, opcode: FrameOpcode = Opcode.binary, fin = true): number {
    this.#mustBeOpen()
    if (start < this.headerLength(end - start)) {
      throw new SluiceError(
        'ERR_SLUICE_MISUSE',
        `a frame header needs ${this.headerLength(end - start)} bytes of headroom, got ${start}`,
      )
    }
    return this.#frame(bytes, start, end, opcode, fin)
  }

  /**
   * Makes a binary frame of two parts whose payload is masked where it lies: the header and the head end before `end` in
   * `bytes`, the body is elsewhere.
   *
   * @param end where the head is to end; there must be {@link headerLength} of headroom and `headLength` before it
   * @param key is given the four bytes that the body was masked with, from its first byte on; undefined for a body that must
   *   stay as it is
   * @returns where the header starts
   * @throws SluiceError `ERR_SLUICE_MISUSE` after our Close frame, or where a body that must stay would have to be masked
   */
  frameParts(
    bytes: Uint8Array,
    end: number,
    head: Uint8Array,
    headLength: number,
    body: Uint8Array,
    key: Uint8Array | undefined,
  ): number {
    this.#mustBeOpen()
    const headAt = end - headLength
    for (let i = 0; i < headLength; i++) bytes[headAt + i] = head[i]!
    this.#maskKey?.(this.#key)
    const phase = applyMask(bytes.subarray(headAt, end), this.#key)
    if (key !== undefined) {
      for (let i = 0; i < 4; i++) key[i] = this.#key[(phase + i) & 3]!
      applyMask(body, key)
    } else if (this.#key.some((byte) => byte !== 0)) {
      throw new SluiceError('ERR_SLUICE_MISUSE', 'a payload that must be masked cannot be sent as it is')
    }
    const used = this.#maskKey === undefined ? undefined : this.#key
    return writeHeaderBefore(bytes, headAt, Opcode.binary, true, headLength + body.length, used)
  }

  /**
   * Makes a binary frame of two parts in other memory, masked as it is copied: the body is left as it is.
   *
   * @param bodyAt where the body is to start in `target`; the head and the frame header go before it
   * @returns where the frame starts; it ends at `bodyAt + body.length`
   */
  frameCopy(target: Uint8Array, bodyAt: number, head: Uint8Array, headLength: number, body: Uint8Array): number {
    this.#mustBeOpen()
    const headAt = bodyAt - headLength
    const length = headLength + body.length
    for (let i = 0; i < headLength; i++) target[headAt + i] = head[i]!
    if (this.#maskKey === undefined) {
      target.set(body, bodyAt)
      return writeHeaderBefore(target, headAt, Opcode.binary, true, length, undefined)
    }
    this.#maskKey(this.#key)
    applyMask(target.subarray(headAt, bodyAt), this.#key)
    copyMasked(body, target, bodyAt, this.#key, headLength)
    return writeHeaderBefore(target, headAt, Opcode.binary, true, length, this.#key)
  }

  /** A whole data frame in memory of its own; `payload` is copied. For what is small or has no headroom. */
  frame(payload: Uint8Array, opcode: FrameOpcode = Opcode.binary, fin = true): Uint8Array {
    this.#mustBeOpen()
    return this.#copyToFrame(payload, opcode, fin)
  }

  /** A Ping frame (RFC 6455 §5.5.2), at most 125 bytes of payload. */
  ping(payload: Uint8Array = new Uint8Array(0)): Uint8Array {
    this.#mustBeOpen()
    return this.#copyToFrame(payload, Opcode.ping, true)
  }

  /** A Pong frame (§5.5.3). */
  pong(payload: Uint8Array): Uint8Array {
    this.#mustBeOpen()
    return this.#copyToFrame(payload, Opcode.pong, true)
  }

  /** Our Close frame; a second call returns undefined. With code 1005 the frame has no payload. */
  close(code: number, reason?: string): Uint8Array | undefined {
    if (this.#closeSent) return undefined
    const payload = code === CloseCode.none ? new Uint8Array(0) : encodeClose(code, reason)
    this.#closeSent = true
    return this.#copyToFrame(payload, Opcode.close, true)
  }

  #mustBeOpen(): void {
    if (this.#closeSent)
      throw new SluiceError('ERR_SLUICE_MISUSE', 'nothing may be sent after a Close frame (RFC 6455 §5.5.1)')
  }

  #copyToFrame(payload: Uint8Array, opcode: FrameOpcode, fin: boolean): Uint8Array {
    const start = this.headerLength(payload.length)
    const bytes = new Uint8Array(start + payload.length)
    bytes.set(payload, start)
    this.#frame(bytes, start, bytes.length, opcode, fin)
    return bytes
  }

  #frame(bytes: Uint8Array, start: number, end: number, opcode: FrameOpcode, fin: boolean): number {
    if (this.#maskKey === undefined) return writeHeaderBefore(bytes, start, opcode, fin, end - start, undefined)
    this.#maskKey(this.#key)
    applyMask(bytes.subarray(start, end), this.#key)
    return writeHeaderBefore(bytes, start, opcode, fin, end - start, this.#key)
  }

  #control(opcode: number, payload: Uint8Array): void {
    if (opcode === Opcode.ping) {
      this.#events.ping(payload)
    } else if (opcode === Opcode.pong) {
      this.#events.pong(payload)
    } else {
      this.#received = decodeClose(payload)
      this.#events.closeReceived(this.#received)
      throw STOP
    }
  }
}

/** Ends the decoding at a Close frame: bytes after it mean nothing (RFC 6455 §5.5.1). */
const STOP = new Error('closed')
