import { type Frame, MessageDecoder } from '../wire/index.ts'
import { Flight, type Sent } from './flight.ts'
import type { Memory } from './memory.ts'
import type { Stream } from './stream.ts'

/** What a carrier hands to its session, while `receive` runs. Any of these may throw a Violation. */
export interface CarrierOwner {
  frame(carrier: Carrier, frame: Exclude<Frame, { type: 'OPEN' }>): void
  open(carrier: Carrier, frame: Extract<Frame, { type: 'OPEN' }>, declared: number | undefined): void
  data(carrier: Carrier, stream: number, offset: number | undefined, declared: number | undefined): void
  payload(carrier: Carrier, bytes: Uint8Array, memory: Memory | undefined): void
}

/** What the peer said of ACKs, and of messages, in its HELLO; and what we said of ours. */
export interface CarrierOptions {
  /** The longest message that the peer accepts, and that we accept. */
  readonly sendMost: number
  readonly receiveMost: number
  /** When we owe an ACK: bytes, and milliseconds. */
  readonly ackBytes: number
  readonly ackDelay: number
}

/** So many bytes are acknowledged after so many milliseconds, though the HELLO allows for more of both. */
const SOME = 16 * 1024
const SOME_DELAY = 2

/** Frames whose arrival starts no ACK (spec §8). */
const QUIET = new Set<Frame['type']>(['ACK', 'PING', 'PONG', 'DATAGRAM'])

/** One carrier of a session: what is in flight on it, what it has brought, and whether it lives. */
export class Carrier {
  readonly number: number
  readonly options: CarrierOptions
  readonly flight: Flight = new Flight()
  readonly #owner: CarrierOwner
  readonly #decoder: MessageDecoder
  /** Whether data may be sent on it. A dead one is kept for what still arrives. */
  alive = true
  /** Whether its peer, or we, want no new streams on it. */
  leaving = false
  /** Whether it gives no sign although others do: what it holds up was sent again elsewhere, and nothing new goes on it. */
  suspected = false
  /** Whether it was given up for its silence; how long nothing had moved on it before it was asked. */
  gaveUp = false
  quietBefore = 0
  /** Messages processed in all. */
  received = 0
  #owed = 0
  #owedSince: number | undefined
  /** ACKs of much are sent sooner than they must be: the peer's window opens with them. */
  #ackAt = 0
  #lastProcessedAt = 0
  heardAt: number
  /** When a message was sent on it last. */
  spokeAt: number
  /** When a PING that is not answered yet was sent. */
  askedAt: number | undefined
  pingDue = false
  /** Whether the peer is to be told that another should take its place. */
  goawayDue = false
  pong: Uint8Array | undefined
  /** The stream and the offset of the data that streams in. */
  current: Stream | undefined
  at = 0
  #memory: Memory | undefined
  #quiet = false

  constructor(number: number, owner: CarrierOwner, options: CarrierOptions, now: number) {
    this.number = number
    this.options = options
    this.#owner = owner
    this.heardAt = now
    this.spokeAt = now
    this.#decoder = new MessageDecoder(
      {
        frame: (frame) => {
          this.#quiet = QUIET.has(frame.type)
          owner.frame(this, frame)
        },
        open: (frame, declared) => owner.open(this, frame, declared),
        data: (stream, offset, declared) => owner.data(this, stream, offset, declared),
        payload: (bytes) => this.#owner.payload(this, bytes, this.#memory),
      },
      options.receiveMost,
    )
  }

  begin(declared: number | undefined): void {
    this.#quiet = false
    this.current = undefined
    this.#decoder.begin(declared)
  }

  push(bytes: Uint8Array, memory: Memory | undefined, now: number): void {
    this.heardAt = now
    this.#memory = memory
    this.#decoder.push(bytes)
  }

  end(now: number): void {
    this.#decoder.end()
    this.current?.setNext(this.number, this.at)
    this.received++
    if (this.#quiet) return
    this.#lastProcessedAt = now
    this.#owed += this.#decoder.length
    this.#owedSince ??= now
    if (this.#owed >= this.options.ackBytes) this.#ackAt = now
    else {
      const wait = this.#owed >= SOME ? Math.min(SOME_DELAY, this.options.ackDelay) : this.options.ackDelay
      this.#ackAt = this.#owedSince + wait
    }
  }

  /** Whether new data goes on it while there is any such carrier. */
  get good(): boolean {
    return !this.suspected && !this.leaving
  }

  /** When an ACK is due; undefined if none is owed. */
  get ackDeadline(): number | undefined {
    return this.#owedSince === undefined ? undefined : this.#ackAt
  }

  ackDue(now: number): boolean {
    return this.#owedSince !== undefined && now >= this.#ackAt
  }

  /** The ACK of what has been processed; after it nothing is owed. */
  makeAck(now: number): Frame {
    this.#owed = 0
    this.#owedSince = undefined
    const delay = Math.max(0, Math.round((now - this.#lastProcessedAt) * 1000))
    return { type: 'ACK', carrier: this.number, count: this.received, delay }
  }

  /** How long until a message of this size would be there, as far as can be told, in milliseconds. */
  expectedDelay(size: number): number {
    const { rate } = this.flight
    return (this.flight.bytes + size) / (rate.rate || 1000) + (rate.least ?? 50) / 2
  }

  /** Everything not acknowledged, taken out: it goes to other carriers. */
  takeAll(): Sent[] {
    return this.flight.takeAll()
  }
}
