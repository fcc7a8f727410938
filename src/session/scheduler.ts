import type { Stream } from './stream.ts'

/** Streams that want to send, first come first served; one stands in it once. */
class Line {
  #streams: Stream[] = []
  #first = 0

  get first(): Stream | undefined {
    return this.#streams[this.#first]
  }

  push(stream: Stream): void {
    this.#streams.push(stream)
  }

  shift(): void {
    this.#streams[this.#first++] = undefined as unknown as Stream
    if (this.#first === this.#streams.length) {
      this.#streams = []
      this.#first = 0
    } else if (this.#first >= 256) {
      this.#streams.splice(0, this.#first)
      this.#first = 0
    }
  }
}

/** Bulk gets at least one byte in eight (spec §12). */
const BULK_SHARE = 7

/**
 * Whose data goes next: streams that sent little of late before those that sent much, which keep a share, and deficit round
 * robin within each (spec §12). It knows nothing of carriers.
 */
export class Scheduler {
  readonly #interactive = new Line()
  readonly #bulk = new Line()
  /** What interactive streams have sent since bulk had its turn. */
  #ahead = 0

  /** The stream has data; harmless if it stands in line already. */
  add(stream: Stream, now: number): void {
    if (stream.queuedData) return
    stream.queuedData = true
    stream.deficit = 0
    if (stream.interactive(now)) this.#interactive.push(stream)
    else this.#bulk.push(stream)
  }

  /** The stream to send next, or undefined. It stays first until {@link sent} or {@link skip}. */
  next(quantum: number): Stream | undefined {
    for (;;) {
      const stream = this.#line(quantum).first
      if (stream === undefined) return undefined
      if (stream.sendable) return stream
      this.skip(stream)
    }
  }

  #line(quantum: number): Line {
    if (this.#interactive.first === undefined) return this.#bulk
    if (this.#bulk.first === undefined) return this.#interactive
    return this.#ahead >= quantum * BULK_SHARE ? this.#bulk : this.#interactive
  }

  /** The stream has nothing to send now: it leaves its line. */
  skip(stream: Stream): void {
    stream.queuedData = false
    this.#lineOf(stream).shift()
  }

  /** The stream has sent this much; after its share it goes to the end of its line. */
  sent(stream: Stream, bytes: number, quantum: number, now: number): void {
    const line = this.#lineOf(stream)
    if (line === this.#interactive) this.#ahead += bytes
    else this.#ahead = 0
    if (stream.deficit <= 0) stream.deficit += quantum
    stream.deficit -= bytes
    if (stream.deficit > 0 && stream.sendable) return
    line.shift()
    stream.queuedData = false
    const { deficit } = stream
    if (!stream.sendable) return
    this.add(stream, now)
    stream.deficit = Math.min(0, deficit)
  }

  #lineOf(stream: Stream): Line {
    return this.#interactive.first === stream ? this.#interactive : this.#bulk
  }

  /** Whether a stream of bulk has something to send. */
  get bulk(): boolean {
    return this.#bulk.first !== undefined
  }

  /** Whether both kinds of stream are about. */
  get mixed(): boolean {
    return this.#interactive.first !== undefined && this.#bulk.first !== undefined
  }
}
