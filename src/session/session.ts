import {
  type CarrierCount,
  CloseReason,
  clipText,
  encodeFrame,
  MAX_TEXT,
  OpenError,
  type Parameters,
  type Target,
  Violation,
} from '../wire/index.ts'
import type { Carrier } from './carrier.ts'
import { CarrierSet } from './carrier-set.ts'
import { Core } from './core.ts'
import { CreditPool } from './credit.ts'
import { figuresOf, type SessionFigures } from './figures.ts'
import { FloodGuard } from './flood.ts'
import { Incoming } from './incoming.ts'
import { DEFAULT_LIVENESS, judge, type LivenessOptions, livenessDeadline } from './liveness.ts'
import type { Memory } from './memory.ts'
import { Outgoing, type OutgoingMessage } from './outgoing.ts'
import { Wear } from './pace.ts'
import { Due, type Stream } from './stream.ts'
import type { StreamHandler } from './stream-contracts.ts'
import type { Role } from './streams.ts'

/** What a session tells its owner, while one of its methods runs. */
export interface SessionEvents {
  /** The peer opened a stream, or asked for a listener: `start` it, and `accept` or `refuse`. */
  opened(stream: Stream): void
  /** There may be something to transmit, or an earlier deadline. */
  wake(): void
  /** The session gave this carrier up: close it. */
  gaveUp(carrier: number, why: string): void
  /** The peer wants no new streams. */
  goaway?(): void
  /** A client is to open another carrier in the place of this one: TCP on it is worn, or the server says so. */
  renew?(carrier: number): void
  /** As much has moved as {@link Session.watch} asked for. */
  busy?(): void
  /** The session is over; transmit what is left, then close its carriers. */
  closed(code: number, text: string, byPeer: boolean): void
}

export interface SessionOptions {
  readonly role: Role
  /** What we said in our HELLO, and what the peer said in its. */
  readonly own: Parameters
  readonly peer: Parameters
  /** By how much windows may grow beyond their initial size, together, in bytes. Default 128 MiB of its own. */
  readonly pool?: CreditPool
  /** Bytes held for sending, queued and unacknowledged together, at which writers are told to wait. Default 128 MiB. */
  readonly replayBudget?: number
  readonly liveness?: LivenessOptions
  readonly now: number
}

export const DEFAULT_BUDGET: number = 128 * 1024 * 1024

/**
 * One end of a session (spec/sluice-1.md), without I/O, clock or chance: messages go in by {@link receive}, messages come
 * out of {@link transmit}, and time is an argument, in milliseconds of a clock that only goes forward.
 *
 * After any call, and whenever `wake` says so: `transmit` until it returns undefined, then see {@link deadline}. At the
 * deadline, or later, or earlier without harm: `advance`.
 */
export class Session {
  readonly role: Role
  readonly #core: Core
  readonly #events: SessionEvents
  readonly #incoming: Incoming
  readonly #outgoing: Outgoing
  #liveness: LivenessOptions
  readonly #set: CarrierSet
  readonly #wear = new Wear()
  readonly #resumeFor: number
  readonly #closeOn: number[] = []
  #waitingSince: number | undefined

  constructor(options: SessionOptions, events: SessionEvents) {
    const { role, own, peer, now } = options
    this.role = role
    this.#events = events
    this.#liveness = options.liveness ?? DEFAULT_LIVENESS
    this.#resumeFor = role === 'server' ? own.resume_for : peer.resume_for
    this.#core = new Core({
      role,
      own,
      peer,
      now,
      pool: options.pool ?? new CreditPool(DEFAULT_BUDGET),
      replayBudget: options.replayBudget ?? DEFAULT_BUDGET,
      flood: new FloodGuard(now),
      wake: () => events.wake(),
      busy: () => events.busy?.(),
    })
    this.#set = new CarrierSet(this.#core)
    this.#outgoing = new Outgoing(this.#core)
    this.#incoming = new Incoming(this.#core, {
      opened: (stream) => events.opened(stream),
      goaway: (scope, carrier, limit) => this.#goaway(scope, carrier, limit),
      closed: (code, text) => this.#end(code, text, true),
    })
    this.#waitingSince = now
  }

  // --- streams ---

  /** Opens a stream. What is written before the next `transmit` travels with the OPEN. */
  open(target: Target, handler: StreamHandler, now: number): Stream {
    return this.#open('OPEN', target, handler, now)
  }

  /** Asks the server to listen: `opened` gives the bound address, ending the stream unbinds it. Needs the feature `listen`. */
  listen(target: Target, handler: StreamHandler, now: number): Stream {
    return this.#open('LISTEN', target, handler, now)
  }

  #open(frame: 'OPEN' | 'LISTEN', target: Target, handler: StreamHandler, now: number): Stream {
    const core = this.#core
    core.now = now
    const stream = core.streams.open(frame, target)
    stream.start(handler)
    if (core.over) {
      stream.lose(core.closing?.text ?? 'the session is over')
      core.streams.forget(stream)
    } else if (stream.id >= core.peerLimit) {
      stream.peerFailed(OpenError.GOING_AWAY, 'the server takes no new streams')
      stream.checkOver()
    } else {
      stream.want(Due.open)
    }
    return stream
  }

  /** Whether both sides listed a feature. */
  has(feature: number): boolean {
    return this.#core.has(feature)
  }

  /** The time as of the last call; streams that are written to outside of one use it. */
  set now(now: number) {
    this.#core.now = now
  }

  // --- carriers ---

  /** The number for the next carrier to join; a client's to give. */
  takeCarrierNumber(): number {
    return this.#set.takeNumber()
  }

  /**
   * Adds a carrier whose HELLOs have been exchanged.
   *
   * @param sendMost the longest message that the peer accepts on it
   * @param roundTrip how long the greeting took there and back, in milliseconds: nothing of ours was in its way then
   */
  attach(number: number, sendMost: number, now: number, roundTrip?: number): void {
    this.#core.now = now
    this.#waitingSince = undefined
    this.#set.attach(number, this.#incoming, sendMost, roundTrip)
    this.#events.wake()
  }

  /** Whether a carrier of this number was there before. */
  wasUsed(number: number): boolean {
    return this.#set.wasUsed(number)
  }

  /** Dead carriers of which the peer may not know yet what has arrived, with counts, for a join (spec §9). */
  deadCounts(): CarrierCount[] {
    return this.#set.deadCounts()
  }

  /** Our counts for the carriers that a join lists. */
  countsOf(dead: readonly CarrierCount[]): CarrierCount[] {
    return this.#set.countsOf(dead)
  }

  /**
   * What a join says of dead carriers: they are dead, and of our messages on them so many arrived. What did not is sent again.
   *
   * @returns the carriers that were alive until now
   * @throws Violation ACK_RANGE
   */
  settleDead(dead: readonly CarrierCount[], now: number): number[] {
    this.#core.now = now
    return this.#set.settleDead(dead)
  }

  /** A carrier's transport ended. What was not acknowledged goes to others, now or when one comes. */
  lost(number: number, now: number): void {
    const core = this.#core
    core.now = now
    if (!this.#set.lost(number)) return
    if (core.alive.length === 0) this.#waitingSince = now
    this.#events.wake()
  }

  /** Whether no carrier lives. */
  get waiting(): boolean {
    return !this.#core.over && this.#core.alive.length === 0
  }

  /** The carriers that live. */
  get carriers(): readonly number[] {
    return this.#core.alive.map(({ number }) => number)
  }

  /** For how many milliseconds nothing had moved on a carrier when it died, or until now; 0 for one that is not known. */
  quietOf(number: number, now: number): number {
    const carrier = this.#core.carriers.get(number)
    if (carrier === undefined) return 0
    return carrier.gaveUp ? carrier.quietBefore : now - Math.max(carrier.heardAt, carrier.spokeAt)
  }

  /** When and how carriers are asked whether they live; may be changed at any time. */
  set liveness(options: LivenessOptions) {
    this.#liveness = options
  }

  /** Has `busy` called once, when this many more bytes of stream data have moved, both ways together. */
  watch(bytes: number): void {
    this.#core.watchMoved(bytes)
  }

  /** How many streams have moved at least so many bytes since this was called last. */
  countMoved(bytes: number): number {
    return this.#core.streams.countMoved(bytes)
  }

  // --- messages ---

  /** A message of a carrier begins. @param declared its length, where the carrier knows it */
  begin(carrier: number, declared: number | undefined, now: number): void {
    this.#guard(carrier, now, (known) => known.begin(declared))
  }

  /** The next part of the message. The bytes are the session's until it returns; it holds the memory of what it keeps. */
  push(carrier: number, bytes: Uint8Array, memory: Memory | undefined, now: number): void {
    const core = this.#core
    const known = core.carriers.get(carrier)
    if (known === undefined || core.over) return
    core.now = now
    try {
      known.push(bytes, memory, now)
    } catch (error) {
      this.#violated(error)
    }
  }

  /** The message is whole. */
  end(carrier: number, now: number): void {
    this.#guard(carrier, now, (known) => known.end(now))
    if (this.#core.carriers.get(carrier)?.ackDue(now)) this.#core.wake()
    for (const worn of this.#wear.look(this.#core.alive, now)) this.#replace(worn)
  }

  /** The client opens carriers; the server can but ask for it. */
  #replace(worn: Carrier): void {
    if (this.role === 'client') return this.#events.renew?.(worn.number)
    worn.leaving = true
    worn.goawayDue = true
    this.#core.wake()
  }

  #guard(carrier: number, now: number, act: (carrier: Carrier) => void): void {
    const core = this.#core
    const known = core.carriers.get(carrier)
    if (known === undefined || core.over) return
    core.now = now
    try {
      act(known)
    } catch (error) {
      this.#violated(error)
    }
  }

  #violated(error: unknown): void {
    if (!(error instanceof Violation)) throw error
    this.close(error.reason, error.message, this.#core.now)
  }

  /** The next message to send, now and in this order; undefined if there is none. The object is used again. */
  transmit(now: number): OutgoingMessage | undefined {
    const core = this.#core
    core.now = now
    if (!core.over) return this.#outgoing.next()
    const carrier = this.#closeOn.shift()
    if (carrier === undefined || core.closing === undefined) return undefined
    const head = encodeFrame({ type: 'CLOSE', code: core.closing.code, text: core.closing.text })
    return { carrier, head, headLength: head.length, body: undefined, memory: undefined, changes: 'nothing' }
  }

  /** The body of the message that `transmit` gave last was masked where it lies. @param key its first byte lowest */
  masked(key: number): void {
    this.#outgoing.masked(key)
  }

  // --- time ---

  /** When `advance` is to be called at the latest; infinite if never. */
  deadline(): number {
    let least = Number.POSITIVE_INFINITY
    if (this.#core.over) return least
    for (const carrier of this.#core.alive) {
      least = Math.min(least, carrier.ackDeadline ?? least, livenessDeadline(carrier, this.#liveness) ?? least)
    }
    least = Math.min(least, this.#set.stallDeadline())
    return this.#waitingSince === undefined ? least : Math.min(least, this.#waitingSince + this.#resumeFor)
  }

  /** Does what is due by now. */
  advance(now: number): void {
    const core = this.#core
    if (core.over) return
    core.now = now
    if (this.#waitingSince !== undefined && now >= this.#waitingSince + this.#resumeFor) {
      return this.close(CloseReason.EXPIRED, `no carrier came back within ${this.#resumeFor / 1000} s`, now)
    }
    this.#set.hedge()
    this.#set.relieve()
    for (const carrier of core.alive) {
      const verdict = judge(carrier, this.#liveness, now)
      if (verdict === 'ask') {
        carrier.quietBefore = now - Math.max(carrier.heardAt, carrier.spokeAt)
        carrier.askedAt = now
        carrier.pingDue = true
        core.wake()
      } else if (verdict === 'dead') {
        carrier.gaveUp = true
        this.lost(carrier.number, now)
        this.#events.gaveUp(carrier.number, `silent for ${((now - carrier.heardAt) / 1000).toFixed(1)} s`)
      } else if (carrier.ackDue(now)) {
        core.wake()
      }
    }
  }

  // --- the end ---

  /** Wants no new streams of the peer: it is told which ids are too late. Those that come all the same are to be refused. */
  goaway(): void {
    this.#core.goawayDue = this.#core.streams.nextPeerId
    this.#core.wake()
  }

  #goaway(scope: 'carrier' | 'session', carrier: Carrier, limit: number): void {
    const core = this.#core
    if (scope === 'carrier') {
      carrier.leaving = true
      return this.#events.renew?.(carrier.number)
    }
    core.peerLimit = Math.min(core.peerLimit, limit)
    for (const stream of [...core.streams.all()]) {
      if (!stream.opener || stream.id < core.peerLimit || stream.answered) continue
      stream.peerFailed(OpenError.GOING_AWAY, 'the server takes no new streams')
      stream.checkOver()
    }
    this.#events.goaway?.()
  }

  /** Whether nothing is left to say: no stream lives and all is acknowledged. */
  get idle(): boolean {
    return this.#core.streams.size === 0 && this.#core.alive.every(({ flight }) => flight.bytes === 0)
  }

  get over(): boolean {
    return this.#core.over
  }

  /** Ends the session for good, on both sides, at once: CLOSE, and every stream is reset. */
  close(code: number, text: string, now: number): void {
    this.#core.now = now
    this.#end(code, text, false)
  }

  #end(code: number, text: string, byPeer: boolean): void {
    const core = this.#core
    if (core.over) return
    core.over = true
    core.closing = { code: code as CloseReason, text: clipText(text, MAX_TEXT) }
    for (const carrier of core.carriers.values()) {
      if (carrier.alive && !byPeer) this.#closeOn.push(carrier.number)
      for (const { stream, offset, bytes, memory } of carrier.takeAll()) {
        if (bytes !== undefined) stream?.sending.acked({ offset, bytes, memory })
      }
    }
    for (const stream of [...core.streams.all()]) {
      stream.lose(text)
      core.streams.forget(stream)
    }
    core.controlLine = []
    core.datagrams = []
    this.#events.closed(code, text, byPeer)
    core.wake()
  }

  /** Figures for people and metrics. */
  get figures(): SessionFigures {
    return figuresOf(this.#core)
  }
}
