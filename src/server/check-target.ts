import { randomBytes } from 'node:crypto'
import type { SpliceOutcome } from '../node/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import { ResetCode } from '../wire/index.ts'
import type { Lease } from './quotas.ts'

/** The target of the server's own that `sluice check` asks (spec/sluice-1.md §6). */
export const CHECK_TARGET = 'sluice-check'

/** No request is longer, in bytes. */
const LONGEST_REQUEST = 64
/** No more is sent down for one request, in bytes. */
const MOST_DOWN = 256 * 1024 * 1024
/** How often the count of what has come is told, in milliseconds. */
const TELL_EVERY = 50
const BLOCK = 64 * 1024

export interface CheckTargetOptions {
  readonly lease: Lease
  /** Tells the session the time, before the stream is used outside of one of its callbacks. */
  readonly touch: () => void
  /** What whoever asks may know of this server and of himself. */
  readonly who: () => object
  readonly done: (outcome: SpliceOutcome) => void
}

/**
 * What answers at `@sluice-check`: a line says what is wanted. `who` is answered with a line of JSON; `down N` with N bytes of
 * chance; `up` with how many bytes have come since, a line each time, until the end of the stream. Anything else is reset.
 */
export class CheckTarget implements StreamHandler {
  readonly #stream: Stream
  readonly #options: CheckTargetOptions
  #request = ''
  #mode: 'request' | 'down' | 'up' | 'over' = 'request'
  #left = 0
  #block: Buffer | undefined
  #received = 0
  #sent = 0
  #told = 0
  #timer: NodeJS.Timeout | undefined

  constructor(stream: Stream, options: CheckTargetOptions) {
    this.#stream = stream
    this.#options = options
  }

  data(bytes: Uint8Array): void {
    this.#received += bytes.length
    const wait = this.#options.lease.take(bytes.length)
    // What must wait for its time is paid for by its credit.
    if (wait <= 0) this.#stream.consume(bytes.length)
    else this.#later(wait, () => this.#stream.consume(bytes.length))
    if (this.#mode === 'request') this.#asked(Buffer.from(bytes))
  }

  #asked(bytes: Buffer): void {
    const end = bytes.indexOf(0x0a)
    this.#request += bytes.subarray(0, end < 0 ? undefined : end).toString('latin1')
    if (this.#request.length > LONGEST_REQUEST) return this.abort(ResetCode.CANCELLED)
    if (end < 0) return
    const [, what, count] = /^(?:(who|up)|down (\d{1,9}))$/.exec(this.#request) ?? []
    if (what === 'who') {
      this.#mode = 'over'
      this.#write(Buffer.from(`${JSON.stringify(this.#options.who())}\n`))
      this.#stream.end()
    } else if (what === 'up') {
      this.#mode = 'up'
      this.#received = bytes.length - end - 1
      this.#timer = setInterval(() => this.#tell(), TELL_EVERY)
    } else if (count !== undefined) {
      this.#mode = 'down'
      this.#left = Math.min(Number(count), MOST_DOWN)
      this.#block = randomBytes(BLOCK)
      this.#fill()
    } else this.abort(ResetCode.CANCELLED)
  }

  #tell(): void {
    if (this.#received === this.#told) return
    this.#told = this.#received
    this.#options.touch()
    this.#write(Buffer.from(`${this.#received}\n`))
  }

  #write(bytes: Buffer): boolean {
    this.#sent += bytes.length
    return this.#stream.write(bytes)
  }

  /** As much as there is room for, at the rate that is allowed. */
  #fill(): void {
    while (this.#left > 0) {
      const piece = this.#block!.subarray(0, this.#left)
      this.#left -= piece.length
      const more = this.#write(piece)
      const wait = this.#options.lease.take(piece.length)
      if (wait > 0) return this.#later(wait, () => this.#fill())
      if (!more) return
    }
    this.#stream.end()
  }

  #later(wait: number, act: () => void): void {
    this.#timer = setTimeout(() => {
      this.#options.touch()
      act()
    }, wait)
  }

  writable(): void {
    if (this.#mode === 'down') this.#fill()
  }

  ended(): void {
    if (this.#mode === 'up') {
      this.#told = -1
      this.#tell()
    }
    if (this.#mode !== 'down') this.#stream.end()
  }

  reset(): void {
    this.#over()
  }

  closed(): void {
    this.#over()
  }

  /** Ends it at once: its share is used up, or it is not allowed any more. */
  abort(code: number): void {
    this.#stream.abort(code)
    this.#over()
  }

  #over(): void {
    clearTimeout(this.#timer)
    this.#mode = 'over'
    const { done } = this.#options
    done({ sent: this.#sent, received: this.#received, error: undefined })
  }
}
