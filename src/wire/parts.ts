import { CloseReason } from './registry.ts'
import { readVarint, varintLength, varintLengthFrom, writeVarint } from './varint.ts'
import { malformed, Violation } from './violation.ts'

/** The byte that every answer begins with (spec/http-1.md §1). */
export const ANSWER_MARK = 0x01
/** The byte that ends a part. */
export const PART_END = 0x00

/** What a part is made of, as it comes. */
export interface PartSink {
  begin(length: number): void
  part(bytes: Uint8Array): void
  end(): void
}

/** Reads one part of a carrier over HTTP (spec/http-1.md §1), in whatever pieces it comes. */
export class PartReader {
  readonly #sink: PartSink
  readonly #most: number
  readonly #header = new Uint8Array(8)
  #have = 0
  /** Bytes of the message that are to come; 0 between messages. */
  #left = 0
  /** Whether the end of the part has come. */
  ended = false

  /** @param most how long a message may be, in bytes */
  constructor(sink: PartSink, most: number) {
    this.#sink = sink
    this.#most = most
  }

  /** @throws Violation MALFORMED: bytes after the end, or a length that cannot be */
  push(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (this.ended) throw malformed('bytes after the end of a part')
      if (this.#left === 0) at = this.#readLength(bytes, at)
      else at = this.#readMessage(bytes, at)
    }
  }

  #readLength(bytes: Uint8Array, at: number): number {
    this.#header[this.#have++] = bytes[at]!
    const needed = varintLengthFrom(this.#header[0]!)
    if (this.#have < needed) return at + 1
    this.#have = 0
    const length = readVarint(this.#header, 0)
    if (length > this.#most)
      throw new Violation(CloseReason.TOO_BIG, `a message of ${length} bytes, at most ${this.#most}`)
    if (length === 0) this.ended = true
    else this.#sink.begin(length)
    this.#left = length
    return at + 1
  }

  #readMessage(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#left)
    this.#left -= end - at
    this.#sink.part(bytes.subarray(at, end))
    if (this.#left === 0) this.#sink.end()
    return end
  }
}

/** The head of a message in a part: its length, and the first bytes of it, copied. */
export function partHead(head: Uint8Array, headLength: number, bodyLength: number): Uint8Array {
  const length = headLength + bodyLength
  const bytes = new Uint8Array(varintLength(length) + headLength)
  bytes.set(head.subarray(0, headLength), writeVarint(bytes, 0, length))
  return bytes
}
