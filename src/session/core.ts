import type { CloseReason, Parameters } from '../wire/index.ts'
import type { Carrier } from './carrier.ts'
import type { CreditPool } from './credit.ts'
import type { Sent } from './flight.ts'
import type { FloodGuard } from './flood.ts'
import { Scheduler } from './scheduler.ts'
import type { SentBytes } from './send-buffer.ts'
import { Due, type Stream } from './stream.ts'
import type { StreamOwner } from './stream-contracts.ts'
import { type Role, Streams } from './streams.ts'

/** A datagram that waits to be sent. */
export interface WaitingDatagram {
  readonly stream: Stream
  readonly payload: Uint8Array
}

export interface CoreOptions {
  readonly role: Role
  readonly own: Parameters
  readonly peer: Parameters
  readonly pool: CreditPool
  /** Bytes that may be held for sending, queued and unacknowledged together. */
  readonly replayBudget: number
  readonly flood: FloodGuard
  readonly now: number
  readonly wake: () => void
  readonly busy: () => void
}

/** Datagrams beyond this many bytes: the oldest are dropped. */
const DATAGRAM_QUEUE = 256 * 1024

/** The state of a session that its incoming and outgoing halves share. */
export class Core implements StreamOwner {
  readonly role: Role
  readonly own: Parameters
  readonly peer: Parameters
  readonly streams: Streams
  readonly carriers: Map<number, Carrier> = new Map()
  /** Those of them that live: another list whenever that changes. */
  alive: readonly Carrier[] = []
  readonly scheduler: Scheduler = new Scheduler()
  readonly flood: FloodGuard
  readonly features: number
  readonly #budget: number
  readonly wake: () => void
  readonly #busy: () => void
  now: number
  /** Streams with control frames due, in order. */
  controlLine: Stream[] = []
  maxStreamsDue = false
  /** The GOAWAY of the session to send: its limit. */
  goawayDue: number | undefined
  /** What the peer's GOAWAY of the session allows us to open. */
  peerLimit: number = Number.POSITIVE_INFINITY
  heldBytes = 0
  mostHeld = 0
  datagrams: WaitingDatagram[] = []
  #datagramBytes = 0
  datagramsDropped = 0
  framesIgnored = 0
  resent = 0
  /** CLOSE that is to be sent, or has been. */
  closing: { readonly code: CloseReason; readonly text: string } | undefined
  over = false
  roundTrip: number | undefined
  #waiters = false
  /** Bytes of stream data, both ways, and when `busy` is called. */
  moved = 0
  /** Those of them that came. */
  received = 0
  #watched = Number.POSITIVE_INFINITY
  /** Since when there has been something to send all the time, and no room for it on any carrier. */
  blockedSince: number | undefined

  constructor(options: CoreOptions) {
    this.role = options.role
    this.own = options.own
    this.peer = options.peer
    this.flood = options.flood
    this.now = options.now
    this.wake = options.wake
    this.#busy = options.busy
    this.#budget = options.replayBudget
    // Features are bits; beyond 31 of them this needs another operator.
    this.features = options.own.features & options.peer.features
    const limits = (said: Parameters) => ({ maxStreams: said.max_streams, initialCredit: said.initial_credit })
    this.streams = new Streams(options.role, this, limits(options.own), limits(options.peer), options.pool)
  }

  /** So much stream data has come, or was sent and has been acknowledged. */
  #moved(bytes: number): void {
    this.moved += bytes
    if (this.moved < this.#watched) return
    this.#watched = Number.POSITIVE_INFINITY
    this.#busy()
  }

  /** So much stream data has come. */
  arrived(bytes: number): void {
    this.flood.worked(bytes)
    this.received += bytes
    this.#moved(bytes)
  }

  watchMoved(bytes: number): void {
    this.#watched = this.moved + bytes
  }

  get full(): boolean {
    return this.heldBytes >= this.#budget
  }

  has(feature: number): boolean {
    return (this.features & (1 << feature)) !== 0
  }

  held(bytes: number): void {
    this.heldBytes += bytes
    if (this.heldBytes > this.mostHeld) this.mostHeld = this.heldBytes
    if (this.full) this.#waiters = true
  }

  /** After ACKs have freed replay memory: whoever was stopped by it goes on. */
  checkWriters(): void {
    if (!this.#waiters || this.heldBytes > this.#budget / 2) return
    this.#waiters = false
    for (const stream of [...this.streams.all()]) stream.checkWritable()
  }

  wantsControl(stream: Stream): void {
    if (!stream.queuedControl) {
      stream.queuedControl = true
      this.controlLine.push(stream)
    }
    this.wake()
  }

  wantsData(stream: Stream): void {
    if ((stream.due & Due.open) !== 0) return
    this.scheduler.add(stream, this.now)
    this.wake()
  }

  datagram(stream: Stream, payload: Uint8Array): boolean {
    if (payload.length > this.peer.max_datagram) return false
    this.datagrams.push({ stream, payload })
    this.#datagramBytes += payload.length
    while (this.#datagramBytes > DATAGRAM_QUEUE) {
      this.takeDatagram()
      this.datagramsDropped++
    }
    this.wake()
    return true
  }

  takeDatagram(): WaitingDatagram | undefined {
    const datagram = this.datagrams.shift()
    if (datagram !== undefined) this.#datagramBytes -= datagram.payload.length
    return datagram
  }

  settled(stream: Stream): void {
    if (this.streams.forget(stream)) {
      this.maxStreamsDue = true
      this.wake()
    }
  }

  add(carrier: Carrier): void {
    this.carriers.set(carrier.number, carrier)
    this.alive = [...this.alive, carrier]
  }

  died(carrier: Carrier): void {
    carrier.alive = false
    this.alive = this.alive.filter((other) => other !== carrier)
  }

  /** A message has been processed by the peer. */
  done(sent: Sent): void {
    const { stream } = sent
    if (stream === undefined) return
    if (sent.bytes !== undefined) {
      stream.sending.acked({ offset: sent.offset, bytes: sent.bytes, memory: sent.memory })
      this.#moved(sent.bytes.length)
    }
    if (sent.kind === 'data') stream.checkOver()
    else if (sent.kind !== 'credit' || sent.offset === stream.window.granted) {
      stream.ackedControl(Due[sent.kind as keyof typeof Due])
    }
  }

  /** What a dead carrier had in flight is to be sent again. */
  requeue(carrier: Carrier): void {
    for (const sent of carrier.takeAll()) {
      this.sendAgain(sent)
      sent.memory?.release()
    }
    this.wake()
  }

  /** What a message stood for is to be sent again, as far as it is not done; the message keeps its own hold on its memory. */
  sendAgain({ kind, stream, offset, bytes, memory, mask }: Sent): void {
    if (kind === 'maxStreams') this.maxStreamsDue = true
    if (kind === 'goaway') this.goawayDue ??= offset
    if (stream === undefined) return
    if (bytes !== undefined) this.#dataAgain(stream, { offset, bytes, memory }, mask)
    if (kind === 'data') return
    if (kind === 'credit') {
      if (offset === stream.window.granted && stream.receiveState === 'open') stream.want(Due.credit)
      return
    }
    const due = Due[kind as keyof typeof Due]
    if ((stream.unacked & due) === 0 || (kind === 'open' && stream.confirmed)) return
    stream.want(due)
    if (kind === 'open') stream.openCarrier = -1
  }

  #dataAgain(stream: Stream, piece: SentBytes, mask: number): void {
    const wanted = stream.sendState === 'open' || stream.sendState === 'ended'
    if (!wanted) return stream.sending.settle(piece)
    this.resent += stream.sending.again(piece, mask)
    this.scheduler.add(stream, this.now)
  }
}
