import type { Changes, Memory } from './memory.ts'
import { Ranges } from './ranges.ts'

/** Bytes of a stream at an offset; whoever has a piece has one hold on its memory. */
export interface Piece {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly memory: Memory | undefined
  /** Nothing where the bytes may be on their way already; what is before them only where it was never sent. */
  readonly changes: Changes
}

/** A piece as far as it matters once it has been sent. */
export type SentBytes = Pick<Piece, 'offset' | 'bytes' | 'memory'>

interface Chunk {
  bytes: Uint8Array
  memory: Memory | undefined
  changes: Changes
}

/** Chunks shorter than this are put together, up to the second. */
const SMALL = 2 * 1024
const TOGETHER = 16 * 1024

/** Who counts what is held for sending. */
export interface HeldCounter {
  /** This many bytes more, or less, are held. */
  held(bytes: number): void
}

/** A copy without the mask. @param phase how many bytes of the piece came before */
function unmasked(bytes: Uint8Array, mask: number, phase: number): Uint8Array {
  const copy = new Uint8Array(bytes)
  for (let i = 0; i < copy.length; i++) copy[i]! ^= mask >>> (((phase + i) & 3) * 8)
  return copy
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

  write(bytes: Uint8Array, memory: Memory | undefined, headroom: boolean): void {
    memory?.hold()
    const changes = memory === undefined ? 'nothing' : headroom ? 'before' : 'body'
    this.#chunks.push({ bytes, memory, changes })
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
    const { bytes, memory, changes } = chunk
    if (bytes.length <= room) {
      this.#shift()
      return { offset: this.sent, bytes, memory, changes }
    }
    memory?.hold()
    chunk.bytes = bytes.subarray(room)
    this.#begun(chunk)
    return { offset: this.sent, bytes: bytes.subarray(0, room), memory, changes }
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
        this.#begun(chunk)
      }
    }
    return { offset: this.sent, bytes: joined, memory: undefined, changes: 'nothing' }
  }

  /** What is before the rest of a chunk has been sent. */
  #begun(chunk: Chunk): void {
    if (chunk.changes === 'before') chunk.changes = 'body'
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

  /**
   * What of a piece was not acknowledged is sent again; returns how much that is. It takes a hold of its own on the memory.
   *
   * @param mask what the bytes were masked with where they lie, their first byte lowest; 0 if they were not
   */
  again({ offset, bytes, memory }: SentBytes, mask = 0): number {
    let length = 0
    for (const [from, to] of this.#acked.missing(offset, offset + bytes.length)) {
      const part = bytes.subarray(from - offset, to - offset)
      length += part.length
      // What was masked may still be on its way out of the same memory.
      if (mask !== 0) {
        this.#insert({
          offset: from,
          bytes: unmasked(part, mask, from - offset),
          memory: undefined,
          changes: 'nothing',
        })
        continue
      }
      memory?.hold()
      this.#insert({ offset: from, bytes: part, memory, changes: 'nothing' })
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
