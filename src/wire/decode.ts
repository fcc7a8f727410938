import type { Frame } from './frame.ts'
import { frameName, MAX_OPEN_HEADER, parseFrame, parseOpen } from './parse.ts'
import { CloseReason, FrameType } from './registry.ts'
import { readVarint, varintLengthFrom } from './varint.ts'
import { malformed, Violation } from './violation.ts'

/** What the decoder tells, in the order of the bytes. Any of these may throw a {@link Violation}. */
export interface MessageSink {
  /** A frame that is read whole; not OPEN. */
  frame(frame: Exclude<Frame, { type: 'OPEN' }>): void
  /** OPEN; its data follows as `payload`. `declared` is how much, if the carrier said so. */
  open(frame: Extract<Frame, { type: 'OPEN' }>, declared: number | undefined): void
  /** DATA (with an offset) or DATA_NEXT; its data follows as `payload`. */
  data(stream: number, offset: number | undefined, declared: number | undefined): void
  /** The part of the data that has arrived: a view of the bytes given to `push`. */
  payload(bytes: Uint8Array): void
}

const DATA_HEADER = 17

/**
 * One message after another, as its parts arrive: `begin`, `push` any number of times, `end`. What streams through is handed
 * out at once; everything else is collected, at most as much as a message may have.
 */
export class MessageDecoder {
  readonly #sink: MessageSink
  /** The longest message accepted, in bytes. */
  maxMessage: number
  #declared: number | undefined
  #length = 0
  #streaming = false
  #empty = true
  #isData = false
  #kept = new Uint8Array(64)
  #keptLength = 0

  constructor(sink: MessageSink, maxMessage: number) {
    this.#sink = sink
    this.maxMessage = maxMessage
  }

  /** How long the message is that is being read, as far as it has come. */
  get length(): number {
    return this.#length
  }

  /** @param declared the length of the message, where the carrier knows it from the start */
  begin(declared: number | undefined): void {
    this.#declared = declared
    this.#length = 0
    this.#streaming = false
    this.#empty = true
    this.#isData = false
    this.#keptLength = 0
    if (declared !== undefined) this.#checkLength(declared)
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#length += bytes.length
    this.#checkLength(this.#length)
    if (this.#streaming) return this.#payload(bytes)
    if (this.#keptLength === 0) {
      const used = this.#dataHeader(bytes)
      if (used > 0) return this.#rest(bytes, used)
    }
    this.#keep(bytes)
  }

  end(): void {
    if (this.#length === 0) throw malformed('an empty message')
    if (this.#streaming) {
      if (this.#isData && this.#empty) throw malformed('DATA without data')
      return
    }
    const bytes = this.#kept.subarray(0, this.#keptLength)
    const type = bytes[0]!
    if (type === FrameType.DATA || type === FrameType.DATA_NEXT) throw malformed(`${frameName(type)} without data`)
    if (type === FrameType.OPEN) return this.#open(bytes)
    this.#sink.frame(parseFrame(bytes) as Exclude<Frame, { type: 'OPEN' }>)
  }

  #checkLength(length: number): void {
    if (length <= this.maxMessage) return
    throw new Violation(CloseReason.TOO_BIG, `a message of ${length} bytes or more (allowed: ${this.maxMessage})`)
  }

  /** Tells the header of DATA or DATA_NEXT if all of it is there; returns its length, or 0. */
  #dataHeader(bytes: Uint8Array): number {
    const type = bytes[0]!
    if ((type !== FrameType.DATA && type !== FrameType.DATA_NEXT) || bytes.length < 2) return 0
    let at = 1 + varintLengthFrom(bytes[1]!)
    if (bytes.length < at) return 0
    const stream = readVarint(bytes, 1)
    let offset: number | undefined
    if (type === FrameType.DATA) {
      if (bytes.length <= at) return 0
      const end = at + varintLengthFrom(bytes[at]!)
      if (bytes.length < end) return 0
      offset = readVarint(bytes, at)
      at = end
    }
    this.#isData = true
    this.#streaming = true
    this.#sink.data(stream, offset, this.#declared === undefined ? undefined : this.#declared - at)
    return at
  }

  #rest(bytes: Uint8Array, used: number): void {
    if (bytes.length > used) this.#payload(bytes.subarray(used))
  }

  #payload(bytes: Uint8Array): void {
    this.#empty = false
    this.#sink.payload(bytes)
  }

  #keep(bytes: Uint8Array): void {
    const type = this.#keptLength === 0 ? bytes[0]! : this.#kept[0]!
    frameName(type)
    const isData = type === FrameType.DATA || type === FrameType.DATA_NEXT
    const most = isData ? DATA_HEADER : type === FrameType.OPEN ? MAX_OPEN_HEADER : this.maxMessage
    const take = Math.min(bytes.length, most - this.#keptLength)
    this.#grow(this.#keptLength + take)
    const before = this.#keptLength
    this.#kept.set(bytes.subarray(0, take), before)
    this.#keptLength += take
    const kept = this.#kept.subarray(0, this.#keptLength)
    if (isData) {
      const used = this.#dataHeader(kept)
      if (used > 0) this.#rest(bytes, used - before)
    } else if (type === FrameType.OPEN && this.#keptLength === MAX_OPEN_HEADER) {
      this.#open(kept)
      this.#rest(bytes, take)
    }
  }

  /** The header is surely in `bytes`, or the frame is malformed; what is left of them is data. */
  #open(bytes: Uint8Array): void {
    const { frame, used } = parseOpen(bytes)
    this.#streaming = true
    this.#sink.open(frame, this.#declared === undefined ? this.#lengthAfter(used) : this.#declared - used)
    this.#rest(bytes, used)
  }

  #lengthAfter(used: number): number | undefined {
    return this.#keptLength === this.#length ? this.#length - used : undefined
  }

  #grow(length: number): void {
    if (length <= this.#kept.length) return
    const grown = new Uint8Array(Math.max(length, this.#kept.length * 2))
    grown.set(this.#kept.subarray(0, this.#keptLength))
    this.#kept = grown
  }
}
