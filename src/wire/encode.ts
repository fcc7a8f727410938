import type { CarrierCount, Frame, Hello, Target } from './frame.ts'
import { PARAMETER_NAMES } from './hello.ts'
import { FrameType, Kind, PARAMETER_DEFAULTS, Parameter } from './registry.ts'
import { encodeText } from './text.ts'
import { varintLength, writeVarint } from './varint.ts'

/** The longest header of OPEN's and DATA's kind that is written before data in place: type, stream id, offset. */
export const MAX_DATA_HEADER = 17

/** Writes the header of DATA; or of DATA_NEXT when the offset is undefined. Returns where it ends. */
export function writeDataHeader(into: Uint8Array, stream: number, offset: number | undefined): number {
  into[0] = offset === undefined ? FrameType.DATA_NEXT : FrameType.DATA
  const at = writeVarint(into, 1, stream)
  return offset === undefined ? at : writeVarint(into, at, offset)
}

/** Collects the fields of one frame. */
class FrameWriter {
  #bytes = new Uint8Array(128)
  #length = 0

  #room(length: number): void {
    if (this.#length + length <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + length))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }

  byte(value: number): this {
    this.#room(1)
    this.#bytes[this.#length++] = value
    return this
  }

  varint(value: number): this {
    this.#room(8)
    this.#length = writeVarint(this.#bytes, this.#length, value)
    return this
  }

  bytes(bytes: Uint8Array): this {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  text(text: string): this {
    const bytes = encodeText(text)
    return this.varint(bytes.length).bytes(bytes)
  }

  target(target: Target): this {
    this.byte(Kind[target.kind])
    switch (target.kind) {
      case 'TCP':
      case 'UDP':
        return this.text(target.host)
          .byte(target.port >>> 8)
          .byte(target.port & 0xff)
      case 'UNIX':
        return this.text(target.path)
      case 'NAMED':
        return this.text(target.name)
      case 'ACCEPTED':
        return this.varint(target.listener).text(target.origin)
    }
  }

  counts(carriers: readonly CarrierCount[]): this {
    this.varint(carriers.length)
    for (const { carrier, received } of carriers) this.varint(carrier).varint(received)
    return this
  }

  hello(hello: Hello): this {
    this.byte(1)
      .byte(hello.mode === 'server' ? 0 : hello.mode === 'new' ? 1 : 2)
      .bytes(hello.nonce)
    const said = PARAMETER_NAMES.filter((name) => hello.parameters[name] !== PARAMETER_DEFAULTS[name])
    this.varint(said.length)
    for (const name of said) {
      const value = hello.parameters[name]
      this.varint(Parameter[name]).varint(varintLength(value)).varint(value)
    }
    if (hello.mode === 'server') this.bytes(hello.sessionId).bytes(hello.secret).text(hello.route)
    if (hello.mode === 'join') {
      this.bytes(hello.sessionId).varint(hello.carrier).counts(hello.dead).bytes(hello.proof)
    }
    return this
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

/** The bytes of a frame. For OPEN, the data follows. Values are the caller's to keep in range. */
export function encodeFrame(frame: Frame): Uint8Array {
  if (frame.type === 'IGNORED') return Uint8Array.of(frame.number)
  const writer = new FrameWriter().byte(FrameType[frame.type])
  switch (frame.type) {
    case 'HELLO':
      return writer.hello(frame).done()
    case 'OPEN':
    case 'LISTEN':
      return writer.varint(frame.stream).target(frame.target).done()
    case 'OPENED':
      return writer.varint(frame.stream).text(frame.address).done()
    case 'OPEN_FAILED':
      return writer.varint(frame.stream).varint(frame.code).text(frame.text).done()
    case 'FIN':
    case 'CREDIT':
      return writer.varint(frame.stream).varint(frame.offset).done()
    case 'RESET':
      return writer.varint(frame.stream).varint(frame.code).varint(frame.offset).done()
    case 'MAX_STREAMS':
      return writer.varint(frame.count).done()
    case 'ACK':
      return writer.varint(frame.carrier).varint(frame.count).varint(frame.delay).done()
    case 'PING':
    case 'PONG':
      return writer.bytes(frame.opaque).done()
    case 'DATAGRAM':
      return writer.varint(frame.stream).bytes(frame.payload).done()
    case 'GOAWAY':
      return writer
        .byte(frame.scope === 'carrier' ? 0 : 1)
        .varint(frame.limit)
        .done()
    case 'CLOSE':
    case 'JOIN_FAILED':
      return writer.varint(frame.code).text(frame.text).done()
    case 'JOINED':
      return writer.counts(frame.carriers).bytes(frame.proof).done()
  }
}
