import type { Memory, Stream, StreamHandler } from '../session/index.ts'
import { ResetCode } from '../wire/index.ts'
import { type ByteStream, dismiss } from './byte-stream.ts'
import { HEADROOM, type Slab } from './slab.ts'

/** How a spliced connection went. */
export interface SpliceOutcome {
  /** Bytes that came from the TCP side, and bytes that went to it. */
  readonly sent: number
  readonly received: number
  /** Why it did not end in good order. */
  readonly error: SpliceError | undefined
}

/** What broke a spliced connection. */
export type SpliceError =
  | { readonly from: 'open'; readonly code: number; readonly text: string }
  | { readonly from: 'stream'; readonly code: number; readonly text: string }
  | { readonly from: 'tcp'; readonly error: Error | undefined }
  /** It was ended on this side. */
  | { readonly from: 'here'; readonly text: string }

/** What the TCP side is told before anything of the target: the answer of a proxy protocol. */
export interface SpliceGreeting {
  accepted(address: string): Uint8Array
  failed(code: number): Uint8Array
}

/** What a splice needs of the link that its stream is on. */
export interface Toucher {
  touch(): void
}

/** A read that fills less than this part of its slab is copied before it is kept: it would pin the rest. */
const WORTH_KEEPING = 1 / 4
/** Below this size a piece is copied rather than pinned while the TCP side does not take it. */
const PIN_BELOW = 16 * 1024

/**
 * A stream of a session joined to a TCP side: bytes, back-pressure, half-close and reset, both ways (spec §6). A FIN becomes
 * FIN, a reset RESET, and credit comes back as the TCP side takes what was delivered.
 */
export class Splice implements StreamHandler {
  readonly #tcp: ByteStream
  readonly #link: Toucher
  readonly #done: ((outcome: SpliceOutcome) => void) | undefined
  #stream!: Stream
  #sent = 0
  #received = 0
  #consumed = 0
  #tcpEnded = false
  #streamEnded = false
  #tcpFinished = false
  #streamClosed = false
  #over = false
  onOpened: ((address: string) => void) | undefined
  /** Whether the end of the far side ends it all: for standard input, of which nobody knows whether it will end. */
  endLocalWithStream = false
  greeting: SpliceGreeting | undefined

  constructor(tcp: ByteStream, link: Toucher, done?: (outcome: SpliceOutcome) => void) {
    this.#tcp = tcp
    this.#link = link
    this.#done = done
  }

  /** Begins to read the TCP side. */
  start(stream: Stream): this {
    this.#stream = stream
    this.#tcp.start({
      read: (slab, start, end) => this.#read(slab, start, end),
      ended: () => this.#ended(),
      drained: () => {},
      written: () => this.#consume(),
      finished: () => this.#finished(),
      closed: (error) => this.#closed(error),
    })
    return this
  }

  // --- from the TCP side ---

  #read(slab: Slab, start: number, end: number): void {
    if (this.#over) return
    this.#link.touch()
    this.#sent += end - start
    const bytes = slab.bytes.subarray(start, end)
    const keep = end - start >= slab.bytes.length * WORTH_KEEPING
    const more = keep ? this.#stream.write(bytes, slab, start === HEADROOM) : this.#stream.write(new Uint8Array(bytes))
    if (!more) this.#tcp.pause()
  }

  #ended(): void {
    this.#tcpEnded = true
    this.#link.touch()
    this.#stream.end()
  }

  #closed(error: Error | undefined): void {
    if (this.#over) return
    if (this.#streamClosed) return this.#finish(error === undefined ? undefined : { from: 'tcp', error })
    if (error === undefined && this.#tcpEnded && this.#streamEnded) return
    this.#link.touch()
    this.#stream.abort(ResetCode.CONNECTION_RESET)
    this.#finish({ from: 'tcp', error })
  }

  /** All that the stream brought has left. */
  #finished(): void {
    this.#tcpFinished = true
    if (this.#streamClosed) this.#finish(undefined)
  }

  #consume(): void {
    const consumed = this.#received - this.#tcp.backlog
    if (consumed <= this.#consumed) return
    const bytes = consumed - this.#consumed
    this.#consumed = consumed
    this.#link.touch()
    this.#stream.consume(bytes)
  }

  // --- from the stream ---

  data(bytes: Uint8Array, memory: Memory | undefined): void {
    this.#greet('')
    this.#received += bytes.length
    const copy = memory === undefined || (bytes.length < PIN_BELOW && this.#tcp.backlog > 0)
    const chunk = copy ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#tcp.write(chunk, copy ? undefined : memory)
    if (this.#tcp.backlog === 0) this.#consume()
  }

  ended(): void {
    this.#greet('')
    this.#streamEnded = true
    this.#tcp.end()
    if (this.endLocalWithStream && !this.#tcpEnded) {
      this.#tcpEnded = true
      this.#stream.end()
    }
  }

  /** Data can overtake the word that the target is connected: it came on another carrier. */
  #greet(address: string): void {
    const { greeting } = this
    this.greeting = undefined
    if (greeting !== undefined) this.#say(greeting.accepted(address))
  }

  /** To the TCP side, on our own account. */
  #say(bytes: Uint8Array): void {
    this.#received += bytes.length
    this.#consumed += bytes.length
    if (bytes.length > 0) this.#tcp.write(Buffer.from(bytes))
  }

  opened(address: string): void {
    this.#greet(address)
    this.onOpened?.(address)
  }

  failed(code: number, text: string): void {
    if (this.greeting === undefined) this.#tcp.reset()
    else {
      this.#say(this.greeting.failed(code))
      dismiss(this.#tcp)
    }
    this.#finish({ from: 'open', code, text })
  }

  reset(code: number, text: string): void {
    this.#tcp.reset()
    this.#finish({ from: 'stream', code, text })
  }

  writable(): void {
    this.#tcp.resume()
  }

  /** The stream is over; it all is only when what it brought has left on the TCP side. */
  closed(): void {
    this.#streamClosed = true
    if (this.#tcpFinished) this.#finish(undefined)
  }

  /** Ends both sides at once. @param why for the outcome */
  abort(code: number = ResetCode.CANCELLED, why?: string): void {
    if (this.#over) return
    this.#link.touch()
    this.#stream.abort(code)
    this.#tcp.reset()
    this.#finish(why === undefined ? { from: 'tcp', error: undefined } : { from: 'here', text: why })
  }

  #finish(error: SpliceError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#done?.({ sent: this.#sent, received: this.#received, error })
  }
}
