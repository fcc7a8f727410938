import { SluiceError } from '../errors/index.ts'
import { CloseCode } from './close.ts'
import { applyMask } from './mask.ts'
import { MAX_CONTROL_PAYLOAD, MAX_HEADER, type MessageOpcode, Opcode } from './opcode.ts'

/** Which end of a WebSocket this is: a client masks what it sends, a server must not (RFC 6455 §5.1). */
export type Role = 'client' | 'server'

/** What the decoder tells, in the order of the bytes, before `decode` returns. */
export interface FrameSink {
  /**
   * A data message begins; its first payload may follow at once, or never.
   *
   * @param declared its length, if its first frame is its only one
   */
  messageStart(opcode: MessageOpcode, declared: number | undefined): void
  /** The part of the message's payload that has arrived, unmasked: a view of the bytes given to `decode`. */
  payload(bytes: Uint8Array): void
  /** The message is whole. */
  messageEnd(): void
  /** A whole control frame; the payload is the callee's to keep. */
  control(opcode: typeof Opcode.close | typeof Opcode.ping | typeof Opcode.pong, payload: Uint8Array): void
}

export interface DecoderOptions {
  /** Our own role; frames are checked as coming from the other one. */
  readonly role: Role
  /** The longest message in bytes, over all its fragments; more is refused at the header. Default: no limit. */
  readonly maxMessage?: number
}

const TWO_TO_32 = 2 ** 32
const EMPTY = new Uint8Array(0)

function violation(message: string): SluiceError {
  return new SluiceError('ERR_SLUICE_PROTOCOL', message, { closeCode: CloseCode.protocolError })
}

/**
 * RFC 6455 §5 frames from bytes, as they come. Payload is handed out as it arrives and unmasked where it lies: the bytes
 * given to {@link decode} are changed, and no message is ever assembled. Memory is a header and a control frame at most.
 */
export class FrameDecoder {
  readonly #sink: FrameSink
  readonly #fromClient: boolean
  readonly #maxMessage: number
  /** A header of which only a part has come. */
  readonly #partial = new Uint8Array(MAX_HEADER)
  #partialLength = 0
  readonly #key = new Uint8Array(4)
  #phase = 0
  /** Payload bytes of the current frame still due; -1 between frames. */
  #remaining = -1
  #opcode = 0
  #fin = false
  /** Whether a fragmented message is under way, and how long it is so far. */
  #inMessage = false
  #messageLength = 0
  #control: Uint8Array = EMPTY
  #controlLength = 0

  constructor(sink: FrameSink, options: DecoderOptions) {
    this.#sink = sink
    this.#fromClient = options.role === 'server'
    this.#maxMessage = options.maxMessage ?? Number.POSITIVE_INFINITY
  }

  /** Whether the bytes so far end between two messages: the place where an end of stream is clean. */
  get idle(): boolean {
    return this.#remaining < 0 && this.#partialLength === 0 && !this.#inMessage
  }

  /**
   * Takes the next bytes of the stream, which it may change.
   *
   * @throws SluiceError when the peer breaks a rule; `closeCode` says what to tell it. The decoder is then spent.
   */
  decode(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#remaining < 0) {
        at = this.#header(bytes, at)
        if (this.#remaining !== 0) continue
      }
      at = this.#payload(bytes, at)
    }
  }

  /** Reads a header that starts at `at`, or the rest of one that was cut; returns where it stopped. */
  #header(bytes: Uint8Array, at: number): number {
    if (this.#partialLength === 0) {
      const need = this.#needed(bytes, at, bytes.length - at)
      if (bytes.length - at >= need) {
        this.#parse(bytes, at, need)
        return at + need
      }
    }
    let next = at
    while (next < bytes.length) {
      this.#partial[this.#partialLength++] = bytes[next++]!
      const need = this.#needed(this.#partial, 0, this.#partialLength)
      if (this.#partialLength === need) {
        this.#partialLength = 0
        this.#parse(this.#partial, 0, need)
        break
      }
    }
    return next
  }

  /** The length of the header at `at` as far as it can be told; a bad first or second byte is refused at once. */
  #needed(bytes: Uint8Array, at: number, available: number): number {
    if (available < 1) return 2
    this.#checkFirst(bytes[at]!)
    if (available < 2) return 2
    const second = bytes[at + 1]!
    const length = second & 0x7f
    this.#checkSecond(bytes[at]!, (second & 0x80) !== 0, length)
    return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + ((second & 0x80) !== 0 ? 4 : 0)
  }

  #checkFirst(first: number): void {
    const opcode = first & 0x0f
    if ((first & 0x70) !== 0)
      throw violation(`reserved bits ${(first >>> 4) & 7} are set, but no extension was negotiated`)
    if (opcode >= 8) {
      if (opcode > Opcode.pong) throw violation(`opcode ${opcode} is not defined`)
      if ((first & 0x80) === 0) throw violation('a control frame is fragmented')
      return
    }
    if (opcode > Opcode.binary) throw violation(`opcode ${opcode} is not defined`)
    if (opcode === Opcode.continuation && !this.#inMessage)
      throw violation('a continuation frame without a message to continue')
    if (opcode !== Opcode.continuation && this.#inMessage)
      throw violation('a new message before the fragmented one has ended')
  }

  #checkSecond(first: number, masked: boolean, length: number): void {
    if (masked !== this.#fromClient) {
      throw violation(this.#fromClient ? "a client's frame is not masked" : "a server's frame is masked")
    }
    if ((first & 0x0f) >= 8 && length > MAX_CONTROL_PAYLOAD) {
      throw violation(`a control frame declares more than ${MAX_CONTROL_PAYLOAD} bytes of payload`)
    }
  }

  #parse(bytes: Uint8Array, at: number, headerBytes: number): void {
    const first = bytes[at]!
    let length = bytes[at + 1]! & 0x7f
    if (length === 126) {
      length = (bytes[at + 2]! << 8) | bytes[at + 3]!
      if (length < 126) throw violation(`payload length ${length} is not in its shortest form`)
    } else if (length === 127) {
      length = this.#longLength(bytes, at + 2)
    }
    if (this.#fromClient) {
      for (let i = 0; i < 4; i++) this.#key[i] = bytes[at + headerBytes - 4 + i]!
      this.#phase = 0
    }
    this.#opcode = first & 0x0f
    this.#fin = (first & 0x80) !== 0
    this.#remaining = length
    if (this.#opcode >= 8) {
      this.#control = length === 0 ? EMPTY : new Uint8Array(length)
      this.#controlLength = 0
    } else {
      this.#startData(length)
    }
  }

  #longLength(bytes: Uint8Array, at: number): number {
    let high = 0
    let low = 0
    for (let i = 0; i < 4; i++) {
      high = high * 256 + bytes[at + i]!
      low = low * 256 + bytes[at + 4 + i]!
    }
    const length = high * TWO_TO_32 + low
    if (high >= 2 ** 31) throw violation('the most significant bit of a 64-bit length is set')
    if (length < 65536) throw violation(`payload length ${length} is not in its shortest form`)
    if (length > Number.MAX_SAFE_INTEGER) throw this.#tooBig(`${length}`)
    return length
  }

  #startData(length: number): void {
    if (this.#opcode !== Opcode.continuation) this.#messageLength = 0
    this.#messageLength += length
    if (this.#messageLength > this.#maxMessage) throw this.#tooBig(`${this.#messageLength}`)
    if (this.#opcode !== Opcode.continuation) {
      this.#inMessage = true
      this.#sink.messageStart(this.#opcode as MessageOpcode, this.#fin ? length : undefined)
    }
  }

  #tooBig(length: string): SluiceError {
    const allowed = Math.min(this.#maxMessage, Number.MAX_SAFE_INTEGER)
    return new SluiceError('ERR_SLUICE_TOO_BIG', `a message declares ${length} bytes (allowed: ${allowed})`, {
      closeCode: CloseCode.tooBig,
    })
  }

  #payload(bytes: Uint8Array, at: number): number {
    const take = Math.min(this.#remaining, bytes.length - at)
    if (take > 0) {
      const piece = bytes.subarray(at, at + take)
      if (this.#fromClient) this.#phase = applyMask(piece, this.#key, this.#phase)
      this.#remaining -= take
      if (this.#opcode >= 8) {
        this.#control.set(piece, this.#controlLength)
        this.#controlLength += take
      } else {
        this.#sink.payload(piece)
      }
    }
    if (this.#remaining === 0) this.#endFrame()
    return at + take
  }

  #endFrame(): void {
    this.#remaining = -1
    if (this.#opcode >= 8) {
      const payload = this.#control
      this.#control = EMPTY
      this.#sink.control(this.#opcode as typeof Opcode.close, payload)
    } else if (this.#fin) {
      this.#inMessage = false
      this.#sink.messageEnd()
    }
  }
}
