import { OpenError, ResetCode, type Target } from '../wire/index.ts'
import type { ReceiveWindow } from './credit.ts'
import type { Memory } from './memory.ts'
import { Reassembly } from './reassembly.ts'
import { SendBuffer } from './send-buffer.ts'
import type { StreamHandler, StreamOwner } from './stream-contracts.ts'

/** Control frames that a stream has to send, as bits. */
export const Due = { open: 1, opened: 2, failed: 4, fin: 8, reset: 16, credit: 32 } as const

/** Above this much unsent data `write` says no, and below the second it is writable again. */
const HIGH = 512 * 1024
const LOW = 128 * 1024
/** The time in which what a stream sent is forgotten by half, and the rest of it up to which it counts as interactive. */
const HALF_LIFE = 500
const INTERACTIVE = 32 * 1024
/** A stream that is younger than this has had no time to send much: that it sent little says nothing yet. */
const SETTLED = 30
/** Datagrams that are kept while there is no handler, and bytes of them. */
const EARLY_DATAGRAMS = 64
const EARLY_BYTES = 128 * 1024

/** What a stream may carry; unknown where its listener is gone, so that it is going to be refused. */
export type Carries = 'bytes' | 'datagrams' | 'nothing' | 'unknown'

/** The two directions of a stream, and how far each has come (the tables of spec §6). */
export class Stream {
  readonly id: number
  /** Whether this end opened it. */
  readonly opener: boolean
  readonly target: Target
  readonly frame: 'OPEN' | 'LISTEN'
  readonly carries: Carries
  readonly sending: SendBuffer
  readonly window: ReceiveWindow
  readonly #owner: StreamOwner
  #handler: StreamHandler | undefined

  sendState: 'open' | 'ended' | 'reset' | 'done' = 'open'
  receiveState: 'open' | 'sized' | 'done' = 'open'
  /** The peer's credit: bytes below this offset may be sent. */
  credit: number
  /** Bits of {@link Due}. */
  due = 0
  /** Whether our OPEN is known to have arrived, and until then the carrier that it went on. */
  confirmed: boolean
  openCarrier = -1
  /** Whether an answer (OPENED or OPEN_FAILED) was given or has come. */
  answered = false
  /** Control frames of ours that the peer has not acknowledged yet, as bits of {@link Due}. */
  unacked = 0
  address = ''
  failure: { readonly code: number; readonly text: string } | undefined
  resetCode = 0
  /** The carrier of our last DATA and where it ended: what DATA_NEXT continues. */
  lastCarrier = -1
  lastEnd = 0
  /** The same for what came: of one carrier here, of any others in a map that most streams never need. */
  #nextCarrier = -1
  #nextEnd = 0
  #nexts: Map<number, number> | undefined
  /** Where the next byte to deliver stands, the end of what has been seen, and the peer's final offset. */
  received = 0
  seen = 0
  final = -1
  /** In the session's queues. */
  queuedControl = false
  queuedData = false
  deficit = 0
  #movedBefore = 0
  #recent = 0
  #recentAt = 0
  readonly #begunAt: number
  #wasFull = false
  #early: Reassembly | undefined
  #earlyDatagrams: Uint8Array[] | undefined
  #over = false
  #ending: (() => void) | undefined

  constructor(
    owner: StreamOwner,
    id: number,
    opener: boolean,
    frame: 'OPEN' | 'LISTEN',
    target: Target,
    carries: Carries,
    window: ReceiveWindow,
    credit: number,
  ) {
    this.#owner = owner
    this.#begunAt = owner.now
    this.sending = new SendBuffer(owner)
    this.id = id
    this.opener = opener
    this.frame = frame
    this.target = target
    this.carries = carries
    this.window = window
    this.credit = credit
    this.confirmed = !opener
  }

  /** Whether it carries bytes, rather than datagrams or nothing. */
  get carriesData(): boolean {
    return this.carries === 'bytes' || this.carries === 'unknown'
  }

  /** Takes over: delivers what came before there was a handler, then what comes. */
  start(handler: StreamHandler): void {
    this.#handler = handler
    this.#deliverKept()
    const datagrams = this.#earlyDatagrams
    this.#earlyDatagrams = undefined
    for (const payload of datagrams ?? []) this.peerDatagram(payload)
    const ending = this.#ending
    this.#ending = undefined
    ending?.()
  }

  // --- what the application calls ---

  /**
   * Queues bytes. Until they are acknowledged their memory is held; without memory they must not change any more.
   *
   * @param memory theirs alone: where they lie in it they may be masked
   * @param headroom whether the 32 bytes before them are free to be written over
   * @returns false if enough waits: go on at `writable`
   */
  write(bytes: Uint8Array, memory?: Memory, headroom = false): boolean {
    if (this.sendState !== 'open' || bytes.length === 0) return true
    this.sending.write(bytes, memory, headroom)
    this.#owner.wantsData(this)
    this.#wasFull = this.sending.unsent >= HIGH || this.#owner.full
    return !this.#wasFull
  }

  /** Sends a datagram, or drops it when too much waits; only where it carries them. Returns whether it was queued. */
  sendDatagram(payload: Uint8Array): boolean {
    if (this.sendState !== 'open') return false
    return this.#owner.datagram(this, payload)
  }

  /** Ends our direction after what was written. */
  end(): void {
    if (this.sendState !== 'open') return
    this.sendState = 'ended'
    if (this.sending.unsent === 0) this.want(Due.fin)
  }

  /** Ends both directions at once; what waits is dropped. */
  abort(code: number = ResetCode.CANCELLED): void {
    if (this.sendState === 'reset' || (this.sendState === 'done' && this.receiveState === 'done')) return
    this.#finishReceiving()
    this.#handler = undefined
    this.#over = true
    this.#reset(code)
  }

  /** Answers OPEN or LISTEN: it is connected, or bound, here. */
  accept(address: string): void {
    if (this.opener || this.answered || this.sendState === 'reset') return
    this.answered = true
    this.address = address
    this.want(Due.opened)
    if (this.sending.unsent > 0) this.#owner.wantsData(this)
  }

  /** Answers OPEN or LISTEN: it cannot be. */
  refuse(code: number, text: string): void {
    if (this.opener || this.answered || this.sendState === 'reset') return
    this.answered = true
    this.failure = { code, text }
    this.sending.drop()
    this.sendState = 'reset'
    this.due = 0
    this.want(Due.failed)
    this.#finishReceiving()
    this.#over = true
  }

  /** The application has taken this many bytes: the peer may get credit for more. */
  consume(bytes: number): void {
    const { now, roundTrip } = this.#owner
    if (this.window.consume(bytes, now, roundTrip) && this.receiveState === 'open') this.want(Due.credit)
  }

  // --- what the session calls ---

  want(due: number): void {
    this.due |= due
    this.unacked |= due
    this.#owner.wantsControl(this)
  }

  /** Whether data may be sent now, as far as the stream is concerned. */
  get sendable(): boolean {
    if (this.sendState !== 'open' && this.sendState !== 'ended') return false
    return (this.opener || this.answered) && this.sending.ready(this.credit)
  }

  /** After so much data was taken to be sent: the FIN that waited for it is due, and a writer that waited may go on. */
  afterSend(bytes: number): void {
    this.#score(bytes)
    if (this.sending.unsent === 0 && this.sendState === 'ended' && (this.unacked & Due.fin) === 0) this.want(Due.fin)
    this.checkWritable()
  }

  checkWritable(): void {
    if (!this.#wasFull || this.sending.unsent > LOW || this.#owner.full) return
    this.#wasFull = false
    this.#handler?.writable?.()
  }

  /** Whether it has sent little of late, and has little to send: one that was merely held up is no keystroke. */
  interactive(now: number): boolean {
    if (this.sending.unsent >= INTERACTIVE) return false
    return this.#recent < INTERACTIVE || this.#recent * 0.5 ** ((now - this.#recentAt) / HALF_LIFE) < INTERACTIVE
  }

  /**
   * Whether it is known to be one that sends little, because it still does or because that was all: every stream of bulk
   * sends its first bytes as if it were.
   */
  knownInteractive(now: number): boolean {
    if (this.sendState === 'ended' && this.sending.unsent === 0) return this.sending.end < INTERACTIVE
    return now - this.#begunAt >= SETTLED && this.interactive(now)
  }

  /** Bytes that it has moved, both ways, since this was called last. */
  takeMoved(): number {
    const moved = this.received + this.sending.sent
    const since = moved - this.#movedBefore
    this.#movedBefore = moved
    return since
  }

  #score(bytes: number): void {
    const { now } = this.#owner
    this.#recent = this.#recent * 0.5 ** ((now - this.#recentAt) / HALF_LIFE) + bytes
    this.#recentAt = now
  }

  /** Where DATA_NEXT on this carrier begins; undefined if nothing of the stream has come on it. */
  nextOn(carrier: number): number | undefined {
    return this.#nextCarrier === carrier ? this.#nextEnd : this.#nexts?.get(carrier)
  }

  setNext(carrier: number, end: number): void {
    if (this.#nextCarrier !== carrier && this.#nextCarrier >= 0) {
      this.#nexts ??= new Map()
      this.#nexts.set(this.#nextCarrier, this.#nextEnd)
    }
    this.#nextCarrier = carrier
    this.#nextEnd = end
  }

  /** Bytes at an offset have come; delivers what is in order. They are below the credit, and the final offset. */
  receive(offset: number, bytes: Uint8Array, memory: Memory | undefined): void {
    const end = offset + bytes.length
    if (end > this.seen) this.seen = end
    if (this.receiveState === 'done' || end <= this.received) return
    if (offset > this.received || this.#handler === undefined || this.#early !== undefined) {
      this.#early ??= new Reassembly()
      this.#early.insert(Math.max(offset, this.received), bytes.subarray(Math.max(0, this.received - offset)), memory)
      if (this.#handler !== undefined) this.#deliverKept()
    } else {
      const fresh = offset === this.received ? bytes : bytes.subarray(this.received - offset)
      this.received = end
      this.#handler.data(fresh, memory)
    }
    this.checkEnd()
  }

  #deliverKept(): void {
    while (this.#early !== undefined && this.#handler !== undefined) {
      const kept = this.#early.take(this.received)
      if (kept === undefined) break
      this.received += kept.bytes.length
      this.#handler.data(kept.bytes, kept.memory)
      kept.memory?.release()
    }
    if (this.#early?.empty) this.#early = undefined
    this.checkEnd()
  }

  /** All before the final offset has been delivered: the peer's direction is over. */
  checkEnd(): void {
    if (this.receiveState !== 'sized' || this.received < this.final || this.#handler === undefined) return
    this.#finishReceiving()
    this.#handler.ended()
    this.checkOver()
  }

  /** The peer's RESET. @returns whether one of ours is to answer it */
  peerReset(code: number): boolean {
    const answer = this.sendState === 'open' || (this.sendState === 'ended' && !this.#endAcked)
    this.#finishReceiving()
    if (answer) this.#reset(ResetCode.CANCELLED)
    else if (this.sendState === 'ended') this.#settle()
    this.#finish((handler) => handler.reset(code, ''))
    return answer
  }

  /** The peer's OPEN_FAILED. */
  peerFailed(code: number, text: string): void {
    this.confirmed = true
    this.answered = true
    this.#settle()
    this.#finishReceiving()
    this.#finish((handler) => (handler.failed ? handler.failed(code, text) : handler.reset(ResetCode.CANCELLED, text)))
  }

  /** A frame of this stream came back: its OPEN has arrived. */
  confirm(): void {
    this.confirmed = true
    this.unacked &= ~Due.open
    if (this.due !== 0) this.#owner.wantsControl(this)
    if (this.sendable) this.#owner.wantsData(this)
  }

  /** The peer's FIN on a stream that carries no bytes: it ends both ways. */
  peerEnded(): void {
    this.#finishReceiving()
    this.end()
    this.#handler?.ended()
    this.checkOver()
  }

  peerOpened(address: string): void {
    if (this.answered) return
    this.answered = true
    this.#handler?.opened?.(address)
  }

  peerDatagram(payload: Uint8Array): void {
    if (this.#handler !== undefined) return this.#handler.datagram?.(payload)
    // The first ones come while the target is looked up.
    this.#earlyDatagrams ??= []
    const waiting = this.#earlyDatagrams.reduce((sum, { length }) => sum + length, 0)
    if (this.#earlyDatagrams.length < EARLY_DATAGRAMS && waiting + payload.length <= EARLY_BYTES) {
      this.#earlyDatagrams.push(new Uint8Array(payload))
    }
  }

  /** The session is over. */
  lose(text: string): void {
    this.#settle()
    this.#finishReceiving()
    const failed = this.opener && !this.answered
    this.#finish((handler) =>
      failed && handler.failed ? handler.failed(OpenError.GENERAL, text) : handler.reset(ResetCode.SESSION_LOST, text),
    )
  }

  /** A control frame of ours has been acknowledged. */
  ackedControl(due: number): void {
    // What is due again (a newer CREDIT) is not settled by the ACK of an older copy.
    if ((this.due & due) === 0) this.unacked &= ~due
    if (due === Due.open && !this.confirmed) this.confirm()
    if (due === Due.reset || due === Due.failed) this.sendState = 'done'
    this.checkOver()
  }

  #reset(code: number): void {
    this.sending.drop()
    this.sendState = 'reset'
    this.resetCode = code
    this.due &= ~(Due.fin | Due.credit | Due.opened)
    this.unacked &= ~(Due.fin | Due.opened)
    this.want(Due.reset)
  }

  /** Nothing more of ours is to be sent, or waited for. */
  #settle(): void {
    this.sending.drop()
    this.sendState = 'done'
    this.due = 0
    this.unacked = 0
  }

  get #endAcked(): boolean {
    return this.sendState === 'ended' && this.sending.unsent === 0 && ((this.unacked | this.due) & Due.fin) === 0
  }

  /** Whether everything of it is over and acknowledged: it can be forgotten. */
  checkOver(): void {
    if (this.#endAcked && this.sending.settled) {
      this.sendState = 'done'
      // Copies that were to be sent again are not needed any more.
      this.sending.drop()
    }
    if (this.sendState !== 'done' || this.receiveState !== 'done') return
    if ((this.unacked & (Due.open | Due.opened | Due.failed | Due.fin | Due.reset)) !== 0) return
    this.#finish((handler) => handler.closed?.())
    this.#owner.settled(this)
  }

  /** The one last word to the handler; waits for it if there is none yet. */
  #finish(say: (handler: StreamHandler) => void): void {
    if (this.#over) return
    const handler = this.#handler
    if (handler === undefined) {
      this.#ending ??= () => this.#finish(say)
      return
    }
    this.#over = true
    this.#handler = undefined
    say(handler)
  }

  #finishReceiving(): void {
    if (this.receiveState === 'done') return
    this.receiveState = 'done'
    this.due &= ~Due.credit
    this.unacked &= ~Due.credit
    this.#early?.drop()
    this.#early = undefined
    this.window.close()
  }
}
