import { type ByteStream, type ByteStreamEvents, HIGH_MARK, type Holdable, LOW_MARK, type Slab } from '../node/index.ts'
import type { Lease } from './quotas.ts'

/** A stream whose bytes count, both ways: it is slowed to what its lease allows. */
export class MeteredStream implements ByteStream {
  readonly #inner: ByteStream
  readonly #lease: Lease
  #events: ByteStreamEvents | undefined
  /** What waits for its time to be written. */
  readonly #waiting: { readonly bytes: Buffer; readonly memory: Holdable | undefined }[] = []
  #waitingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #paused = false
  #full = false
  #ending = false

  constructor(inner: ByteStream, lease: Lease) {
    this.#inner = inner
    this.#lease = lease
  }

  start(events: ByteStreamEvents): void {
    this.#events = events
    this.#inner.start({
      read: (slab, start, end) => this.#read(slab, start, end),
      ended: () => events.ended(),
      drained: () => this.#drained(),
      written: () => events.written?.(),
      finished: () => events.finished(),
      closed: (error) => {
        this.#drop()
        events.closed(error)
      },
    })
  }

  #read(slab: Slab, start: number, end: number): void {
    this.#took(end - start)
    this.#events!.read(slab, start, end)
  }

  /** Counts, and holds everything up until its time has come. */
  #took(bytes: number): void {
    const wait = this.#lease.take(bytes)
    if (wait <= 0 || this.#timer !== undefined) return
    this.#inner.pause()
    this.#timer = setTimeout(() => this.#goOn(), wait)
  }

  #goOn(): void {
    this.#timer = undefined
    if (!this.#paused) this.#inner.resume()
    while (this.#waiting.length > 0 && this.#timer === undefined) {
      const { bytes, memory } = this.#waiting.shift()!
      this.#waitingBytes -= bytes.length
      this.#inner.write(bytes, memory)
      memory?.release()
      this.#took(bytes.length)
    }
    if (this.#waiting.length === 0 && this.#ending) this.#inner.end()
    this.#events?.written?.()
    this.#drained()
  }

  #drained(): void {
    if (!this.#full || this.backlog > LOW_MARK) return
    this.#full = false
    this.#events?.drained()
  }

  pause(): void {
    this.#paused = true
    this.#inner.pause()
  }

  resume(): void {
    this.#paused = false
    if (this.#timer === undefined) this.#inner.resume()
  }

  get paused(): boolean {
    return this.#paused
  }

  write(bytes: Buffer, memory?: Holdable): void {
    if (this.#timer === undefined) {
      this.#inner.write(bytes, memory)
      this.#took(bytes.length)
    } else {
      memory?.hold()
      this.#waiting.push({ bytes, memory })
      this.#waitingBytes += bytes.length
    }
    if (this.backlog >= HIGH_MARK) this.#full = true
  }

  cork(): void {
    this.#inner.cork()
  }

  uncork(): void {
    this.#inner.uncork()
  }

  get backlog(): number {
    return this.#inner.backlog + this.#waitingBytes
  }

  end(): void {
    this.#ending = true
    if (this.#waiting.length === 0) this.#inner.end()
  }

  reset(): void {
    this.#drop()
    this.#inner.reset()
  }

  destroy(): void {
    this.#drop()
    this.#inner.destroy()
  }

  #drop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { memory } of this.#waiting.splice(0)) memory?.release()
    this.#waitingBytes = 0
  }
}

/** The stream, slowed and counted where its lease says so. */
export function metered(stream: ByteStream, lease: Lease): ByteStream {
  return lease.metered ? new MeteredStream(stream, lease) : stream
}
