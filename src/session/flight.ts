import type { Memory } from './memory.ts'
import { Pace } from './pace.ts'
import { RateControl, type SendMark } from './rate.ts'
import type { Stream } from './stream.ts'

/** What a message that was sent stood for. */
export type SentKind =
  | 'nothing'
  | 'data'
  | 'open'
  | 'opened'
  | 'failed'
  | 'fin'
  | 'reset'
  | 'credit'
  | 'maxStreams'
  | 'goaway'
  | 'leave'

/** From this part of the window on, as much is in flight as may be. */
const FULL = 0.75

/** A message on its way, until its ACK. */
export class Sent implements SendMark {
  readonly kind: SentKind
  readonly stream: Stream | undefined
  /** Bytes of the whole message. */
  readonly size: number
  /** For 'data' and 'open': what is kept to be sent again. For 'credit': the offset that was granted. For 'goaway': the limit. */
  readonly offset: number
  readonly bytes: Uint8Array | undefined
  readonly memory: Memory | undefined
  /** What the bytes were masked with where they lie, their first byte lowest. */
  mask = 0
  /** For 'nothing': how many of these in a row. */
  repeat = 1
  sentAt = 0
  delivered = 0
  deliveredAt = 0
  firstSentAt = 0
  applicationLimited = false
  /** When its ACK is late, as far as could be told when it was sent. */
  lateAt: number = Number.POSITIVE_INFINITY

  constructor(
    kind: SentKind,
    size: number,
    stream?: Stream,
    offset = 0,
    bytes?: Uint8Array,
    memory?: Memory | undefined,
  ) {
    this.kind = kind
    this.size = size
    this.stream = stream
    this.offset = offset
    this.bytes = bytes
    this.memory = memory
  }
}

/** The messages in flight on one carrier, in order (spec §8). */
export class Flight {
  readonly rate: RateControl = new RateControl()
  readonly pace: Pace = new Pace()
  #sent: Sent[] = []
  #first = 0
  /** So many of the first were sent again elsewhere because they were late. */
  #repeated = 0
  /** Messages sent and messages acknowledged, in all. */
  count = 0
  acked = 0
  /** Bytes of messages that the peer will acknowledge. */
  bytes = 0
  /** When the oldest of them was sent; undefined if there is none. */
  get oldest(): number | undefined {
    for (let i = this.#first; i < this.#sent.length; i++) {
      if (this.#sent[i]!.kind !== 'nothing') return this.#sent[i]!.sentAt
    }
    return undefined
  }

  /** When an ACK made progress last. */
  #progressAt = 0

  /** Since when an ACK has been waited for: the oldest message, or the last ACK if that is later; undefined if for none. */
  get waitingSince(): number | undefined {
    const { oldest } = this
    return oldest === undefined ? undefined : Math.max(oldest, this.#progressAt)
  }

  /** Messages in flight that start an ACK, oldest first. */
  unacknowledged(): readonly Sent[] {
    return this.#sent.slice(this.#first).filter(({ kind }) => kind !== 'nothing')
  }

  /** When the oldest message that was not sent again elsewhere is late; undefined if there is none. */
  get lateAt(): number | undefined {
    for (let i = this.#first + this.#repeated; i < this.#sent.length; i++) {
      if (this.#sent[i]!.kind !== 'nothing') return this.#sent[i]!.lateAt
    }
    return undefined
  }

  /** What was not sent again elsewhere, oldest first; from now on it counts as if it were. */
  takeLate(): readonly Sent[] {
    const late = this.#sent.slice(this.#first + this.#repeated).filter(({ kind }) => kind !== 'nothing')
    this.#repeated = this.#sent.length - this.#first
    return late
  }

  /** A message that leaves now and will be acknowledged. */
  push(sent: Sent, now: number): void {
    this.rate.mark(sent, now, this.bytes)
    sent.lateAt = now + this.rate.patience(this.bytes)
    this.bytes += sent.size
    this.count++
    this.#sent.push(sent)
  }

  /** A message that leaves now and starts no ACK. */
  pushNothing(): void {
    this.count++
    const last = this.#sent.at(-1)
    if (last !== undefined && this.#sent.length > this.#first && last.kind === 'nothing') last.repeat++
    else this.#sent.push(new Sent('nothing', 0))
  }

  /** Nothing more was there to send although more might have been in flight: what is in flight now says little of the line. */
  applicationLimited(): void {
    this.rate.limit(this.bytes)
  }

  /**
   * The peer has processed `count` messages. Calls back with each that is done, oldest first.
   *
   * @param delay how long the peer kept the ACK, in milliseconds; undefined for counts that come with a join
   */
  ack(count: number, now: number, delay: number | undefined, done: (sent: Sent) => void): void {
    let newest: Sent | undefined
    let bytes = 0
    while (this.acked < count) {
      const sent = this.#sent[this.#first]!
      const take = Math.min(sent.repeat, count - this.acked)
      this.acked += take
      sent.repeat -= take
      if (sent.repeat > 0) break
      this.#shift()
      if (sent.kind === 'nothing') continue
      bytes += sent.size
      newest = sent
      done(sent)
    }
    const full = this.bytes >= FULL * this.rate.window
    this.bytes -= bytes
    if (newest === undefined) return
    this.#progressAt = now
    this.rate.deliver(bytes, now)
    if (delay === undefined) return
    this.rate.sample(newest, now, delay)
    this.pace.note(bytes, full, now, this.rate.least!)
  }

  #shift(): void {
    this.#sent[this.#first++] = undefined as unknown as Sent
    if (this.#repeated > 0) this.#repeated--
    if (this.#first === this.#sent.length) {
      this.#sent = []
      this.#first = 0
    } else if (this.#first >= 256) {
      this.#sent.splice(0, this.#first)
      this.#first = 0
    }
  }

  /** Takes out everything that is not acknowledged, oldest first: the carrier is dead. */
  takeAll(): Sent[] {
    const rest = [...this.unacknowledged()]
    this.#sent = []
    this.#first = 0
    this.#repeated = 0
    this.bytes = 0
    this.acked = this.count
    return rest
  }
}
