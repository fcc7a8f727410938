import type { Memory } from './memory.ts'
import { Ranges } from './ranges.ts'

/** Bytes of a stream at an offset; whoever has a piece has one hold on its memory. */
export interface Piece {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly memory: Memory | undefined
  /** Whether the bytes before these in their memory may be written over: never sent, and the first of its slab. */
  readonly inPlace: boolean
}

/** A piece as far as it matters once it has been sent. */
export type SentBytes = Pick<Piece, 'offset' | 'bytes' | 'memory'>

interface Chunk {
  bytes: Uint8Array
  memory: Memory | undefined
  inPlace: boolean
}

/** Chunks shorter than this are put together, up to the second. */
const SMALL = 2 * 1024
const TOGETHER = 16 * 1024

/** Who counts what is held for sending. */
export interface HeldCounter {
  /** This many bytes more, or less, are held. */
  held(bytes: number): void
}

/** What a stream has to send: what was never sent, and what must be sent again. */
export class SendBuffer {
  readonly #counter: HeldCounter
  #chunks: Chunk[] = []
  #first = 0
  #again: Piece[] = []
  readonly #acked = new Ranges()
  /** Where the next byte that was never sent stands, and the end of all that was written. */
  sent = 0
  end = 0

  constructor(counter: HeldCounter) {
    this.#counter = counter
  }

  /** Bytes that were never sent. */
  get unsent(): number {
    return this.end - this.sent
  }

  /** Whether there is something to send, given the peer's credit. */
  ready(credit: number): boolean {
    return this.#again.length > 0 || (this.sent < this.end && this.sent < credit)
  }

  /** Whether every byte written has been acknowledged. */
  get settled(): boolean {
    return this.#acked.start === this.end
  }

  write(bytes: Uint8Array, memory: Memory | undefined, inPlace: boolean): void {
    memory?.hold()
    this.#chunks.push({ bytes, memory, inPlace })
    this.end += bytes.length
    this.#counter.held(bytes.length)
  }

  /** The next piece, of at most `most` bytes; what must be sent again comes first. */
  take(most: number, credit: number): Piece | undefined {
    const again = this.#takeAgain(most)
    if (again !== undefined) return again
    const room = Math.min(most, credit - this.sent)
    const chunk = this.#chunks[this.#first]
    if (chunk === undefined || room <= 0) return undefined
    const next = this.#chunks[this.#first + 1]
    const piece = next !== undefined && chunk.bytes.length < SMALL ? this.#combine(room) : this.#cut(chunk, room)
    this.sent += piece.bytes.length
    return piece
  }

  #takeAgain(most: number): Piece | undefined {
    for (let piece = this.#again[0]; piece !== undefined; piece = this.#again[0]) {
      if (piece.bytes.length <= most) {
        this.#again.shift()
      } else {
        piece.memory?.hold()
        const rest = { ...piece, offset: piece.offset + most, bytes: piece.bytes.subarray(most) }
        this.#again[0] = rest
        piece = { ...piece, bytes: piece.bytes.subarray(0, most) }
      }
      if (this.#acked.missing(piece.offset, piece.offset + piece.bytes.length).length > 0) return piece
      piece.memory?.release()
    }
    return undefined
  }

  #cut(chunk: Chunk, room: number): Piece {
    const { bytes, memory, inPlace } = chunk
    if (bytes.length <= room) {
      this.#shift()
      return { offset: this.sent, bytes, memory, inPlace }
    }
    memory?.hold()
    chunk.bytes = bytes.subarray(room)
    chunk.inPlace = false
    return { offset: this.sent, bytes: bytes.subarray(0, room), memory, inPlace }
  }

  /** Puts small chunks together by copying. */
  #combine(room: number): Piece {
    const most = Math.min(room, TOGETHER)
    const joined = new Uint8Array(Math.min(most, this.end - this.sent))
    let length = 0
    while (length < joined.length) {
      const chunk = this.#chunks[this.#first]!
      const take = Math.min(chunk.bytes.length, joined.length - length)
      joined.set(take === chunk.bytes.length ? chunk.bytes : chunk.bytes.subarray(0, take), length)
      length += take
      if (take === chunk.bytes.length) {
        chunk.memory?.release()
        this.#shift()
      } else {
        chunk.bytes = chunk.bytes.subarray(take)
        chunk.inPlace = false
      }
    }
    return { offset: this.sent, bytes: joined, memory: undefined, inPlace: false }
  }

  #shift(): void {
    this.#chunks[this.#first++] = undefined as unknown as Chunk
    if (this.#first === this.#chunks.length) {
      this.#chunks = []
      this.#first = 0
    } else if (this.#first === 64) {
      this.#chunks.splice(0, 64)
      this.#first = 0
    }
  }

  /** A copy of a piece has been processed by the peer, or will not be waited for: its memory is let go. */
  acked(piece: SentBytes): void {
    this.settle(piece)
    piece.memory?.release()
  }

  /** These bytes are not held for sending any more; counted once, however many copies of them are under way. */
  settle({ offset, bytes }: SentBytes): void {
    this.#counter.held(-this.#acked.add(offset, offset + bytes.length))
  }

  /** What of a piece was not acknowledged is sent again; returns how much that is. It takes a hold of its own on the memory. */
  again({ offset, bytes, memory }: SentBytes): number {
    let length = 0
    for (const [from, to] of this.#acked.missing(offset, offset + bytes.length)) {
      memory?.hold()
      const part = bytes.subarray(from - offset, to - offset)
      this.#insert({ offset: from, bytes: part, memory, inPlace: false })
      length += part.length
    }
    return length
  }

  #insert(piece: Piece): void {
    let at = this.#again.length
    while (at > 0 && this.#again[at - 1]!.offset > piece.offset) at--
    this.#again.splice(at, 0, piece)
  }

  /** Drops everything that waits to be sent. */
  drop(): void {
    for (const piece of this.#again) this.acked(piece)
    for (const { memory } of this.#chunks.slice(this.#first)) memory?.release()
    this.#counter.held(-this.unsent)
    this.#again = []
    this.#chunks = []
    this.#first = 0
    this.end = this.sent
  }
}
