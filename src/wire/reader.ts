import { decodeText } from './text.ts'
import { readVarint, varintLengthFrom } from './varint.ts'
import { malformed, type Violation } from './violation.ts'

/** Reads the fields of one frame in order; every error names the frame. */
export class FrameReader {
  readonly #bytes: Uint8Array
  readonly #frame: string
  at: number

  constructor(bytes: Uint8Array, frame: string, at = 1) {
    this.#bytes = bytes
    this.#frame = frame
    this.at = at
  }

  get left(): number {
    return this.#bytes.length - this.at
  }

  byte(): number {
    if (this.left < 1) throw this.#short()
    return this.#bytes[this.at++]!
  }

  varint(): number {
    if (this.left < 1 || this.left < varintLengthFrom(this.#bytes[this.at]!)) throw this.#short()
    const value = readVarint(this.#bytes, this.at)
    this.at += varintLengthFrom(this.#bytes[this.at]!)
    return value
  }

  port(): number {
    const high = this.byte()
    return high * 256 + this.byte()
  }

  /** Bytes of their own. */
  take(length: number): Uint8Array {
    if (this.left < length) throw this.#short()
    const bytes = this.#bytes.slice(this.at, this.at + length)
    this.at += length
    return bytes
  }

  /** Text with its length before it. */
  text(what: string, least: number, most: number): string {
    const length = this.varint()
    if (length < least || length > most) {
      throw malformed(`${this.#frame}: the ${what} has ${length} bytes (${least} to ${most})`)
    }
    const text = decodeText(this.take(length))
    if (text === undefined) throw malformed(`${this.#frame}: the ${what} is not UTF-8`)
    return text
  }

  /** A list of at most this many entries, its count before it. */
  list<T>(most: number, read: () => T): T[] {
    const count = this.varint()
    if (count > most) throw malformed(`${this.#frame}: a list of ${count} (at most ${most})`)
    return Array.from({ length: count }, read)
  }

  end(): void {
    if (this.left > 0) throw malformed(`${this.#frame}: ${this.left} bytes are left over`)
  }

  #short(): Violation {
    return malformed(`${this.#frame}: the message ends too early, after ${this.#bytes.length} bytes`)
  }
}
