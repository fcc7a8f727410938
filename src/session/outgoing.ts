import { encodeFrame, type Frame, MAX_DATA_HEADER, writeDataHeader } from '../wire/index.ts'
import type { Carrier } from './carrier.ts'
import { Company } from './company.ts'
import type { Core } from './core.ts'
import { Sent, type SentKind } from './flight.ts'
import type { Changes, Memory } from './memory.ts'
import { Due, type Stream } from './stream.ts'

/** A message to be sent now, in order, on one carrier. The object is used again for the next one. */
export interface OutgoingMessage {
  carrier: number
  /** The first `headLength` bytes of this; valid until the next call. */
  head: Uint8Array
  headLength: number
  /** What follows the head. It is kept until acknowledged; whoever masks it where it lies says so by `Session.masked`. */
  body: Uint8Array | undefined
  memory: Memory | undefined
  /** What may be written over: the head may go into what is before the body. */
  changes: Changes
}

/** How much above the window in flight a message of an interactive stream may go: it must not wait for bulk. */
const SLACK = 64 * 1024
/** A datagram waits no longer than this in the queue of the line: beyond it, it is as good as lost. */
const DATAGRAM_WINDOW = 128 * 1024
/**
 * Below this round trip, in milliseconds, several carriers carry no more than one: another must be so much faster than the last one,
 * as messages on one share their writes and reads.
 */
const NEAR = 8
const WORTH_A_CHANGE = 10
/** OPEN without data is not worth more than this much of its first data in the same message. */
const FIRST_DATA = 64 * 1024

/** Decides what leaves next: control before data, then as the scheduler says, on the carrier that is expected to be fastest. */
export class Outgoing {
  readonly #core: Core
  readonly #scratch = new Uint8Array(MAX_DATA_HEADER)
  readonly #message: OutgoingMessage
  readonly #company = new Company()
  /** What the last message with a body stands for. */
  #last: Sent | undefined
  /** The carrier that bulk leaves free, while there is one. */
  #express: Carrier | undefined
  /** The carrier of the last message that any might have carried. */
  #latest: Carrier | undefined

  constructor(core: Core) {
    this.#core = core
    this.#message = {
      carrier: 0,
      head: this.#scratch,
      headLength: 0,
      body: undefined,
      memory: undefined,
      changes: 'nothing',
    }
  }

  masked(key: number): void {
    this.#last!.mask = key
  }

  next(): OutgoingMessage | undefined {
    const core = this.#core
    for (const carrier of core.alive) {
      const message = this.#carrierControl(carrier)
      if (message !== undefined) return message
    }
    const main = this.#fastest(0)
    if (main === undefined) return undefined
    return this.#sessionControl(main) ?? this.#streamControl(main) ?? this.#datagram() ?? this.#data(main)
  }

  /** PONG, ACK, PING and GOAWAY: what belongs to one carrier. */
  #carrierControl(carrier: Carrier): OutgoingMessage | undefined {
    if (carrier.pong !== undefined) {
      const frame: Frame = { type: 'PONG', opaque: carrier.pong }
      carrier.pong = undefined
      return this.#quiet(carrier, frame)
    }
    if (carrier.ackDue(this.#core.now)) return this.#quiet(carrier, carrier.makeAck(this.#core.now))
    if (carrier.pingDue) {
      carrier.pingDue = false
      return this.#quiet(carrier, { type: 'PING', opaque: new Uint8Array(0) })
    }
    if (!carrier.goawayDue) return undefined
    carrier.goawayDue = false
    return this.#control(carrier, 'leave', { type: 'GOAWAY', scope: 'carrier', limit: 0 })
  }

  #sessionControl(carrier: Carrier): OutgoingMessage | undefined {
    const core = this.#core
    if (core.maxStreamsDue) {
      core.maxStreamsDue = false
      core.streams.announced = core.streams.allowed
      return this.#control(carrier, 'maxStreams', { type: 'MAX_STREAMS', count: core.streams.allowed })
    }
    if (core.goawayDue !== undefined) {
      const limit = core.goawayDue
      core.goawayDue = undefined
      return this.#control(carrier, 'goaway', { type: 'GOAWAY', scope: 'session', limit }, undefined, limit)
    }
    return undefined
  }

  #streamControl(main: Carrier): OutgoingMessage | undefined {
    const line = this.#core.controlLine
    while (line.length > 0) {
      const stream = line[0]!
      const carrier = stream.due === 0 ? undefined : this.#carrierOf(stream, main)
      if (carrier === undefined) {
        line.shift()
        stream.queuedControl = false
        continue
      }
      return this.#streamFrame(stream, carrier)
    }
    return undefined
  }

  /** The carrier for a stream's control frames; undefined while its OPEN has to wait. */
  #carrierOf(stream: Stream, main: Carrier): Carrier | undefined {
    if (stream.confirmed) return main
    if ((stream.due & Due.open) !== 0) return this.#core.streams.mayLeave(stream) ? main : undefined
    const carrier = this.#core.carriers.get(stream.openCarrier)
    return carrier?.alive ? carrier : undefined
  }

  #streamFrame(stream: Stream, carrier: Carrier): OutgoingMessage {
    const { id } = stream
    const due = stream.due & -stream.due
    stream.due &= ~due
    switch (due) {
      case Due.open:
        return this.#open(stream, carrier)
      case Due.opened:
        return this.#control(carrier, 'opened', { type: 'OPENED', stream: id, address: stream.address }, stream)
      case Due.failed:
        return this.#control(carrier, 'failed', { type: 'OPEN_FAILED', stream: id, ...stream.failure! }, stream)
      case Due.fin:
        if (this.#core.scheduler.bulk && stream.knownInteractive(this.#core.now)) this.#company.note(this.#core.now)
        return this.#control(carrier, 'fin', { type: 'FIN', stream: id, offset: stream.sending.end }, stream)
      case Due.reset: {
        const frame: Frame = { type: 'RESET', stream: id, code: stream.resetCode, offset: stream.sending.sent }
        return this.#control(carrier, 'reset', frame, stream)
      }
      default: {
        const offset = stream.window.granted
        return this.#control(carrier, 'credit', { type: 'CREDIT', stream: id, offset }, stream, offset)
      }
    }
  }

  /** OPEN with what has been written already. One that is sent again has no data: that follows by itself. */
  #open(stream: Stream, carrier: Carrier): OutgoingMessage {
    stream.openCarrier = carrier.number
    const target = stream.target
    if (stream.frame === 'LISTEN') {
      return this.#control(carrier, 'open', { type: 'LISTEN', stream: stream.id, target }, stream)
    }
    const head = encodeFrame({ type: 'OPEN', stream: stream.id, target })
    const { sending } = stream
    const most = Math.min(FIRST_DATA, carrier.options.sendMost - head.length)
    const piece = sending.sent === 0 && stream.carriesData ? sending.take(most, stream.credit) : undefined
    const length = piece?.bytes.length ?? 0
    stream.lastCarrier = carrier.number
    stream.lastEnd = length
    const sent = new Sent('open', head.length + length, stream, 0, piece?.bytes, piece?.memory)
    this.#push(carrier, sent)
    stream.afterSend(length)
    if (stream.sendable) this.#core.wantsData(stream)
    return this.#out(carrier, head, head.length, piece?.bytes, piece?.memory, piece?.changes ?? 'nothing')
  }

  #datagram(): OutgoingMessage | undefined {
    const core = this.#core
    while (core.datagrams.length > 0) {
      const first = core.datagrams[0]!
      const carrier = this.#carrierForDatagram(first.stream, first.payload.length)
      if (carrier !== undefined && carrier.flight.bytes > carrier.flight.rate.window + DATAGRAM_WINDOW) return undefined
      const { stream, payload } = core.takeDatagram()!
      if (stream.sendState !== 'open') continue
      if (carrier === undefined) {
        core.datagramsDropped++
        continue
      }
      // Beside bulk it is in a hurry as keystrokes are.
      if (core.scheduler.bulk) this.#company.note(core.now)
      return this.#quiet(carrier, { type: 'DATAGRAM', stream: stream.id, payload })
    }
    return undefined
  }

  /** It must not overtake the OPEN of its stream. */
  #carrierForDatagram(stream: Stream, size: number): Carrier | undefined {
    if (stream.confirmed) return this.#fastest(size)
    const carrier = this.#core.carriers.get(stream.openCarrier)
    return carrier?.alive ? carrier : undefined
  }

  #data(main: Carrier): OutgoingMessage | undefined {
    const { scheduler, now } = this.#core
    const quantum = main.flight.rate.message
    const stream = scheduler.next(quantum)
    if (stream === undefined) {
      for (const carrier of this.#core.alive) carrier.flight.applicationLimited()
      this.#core.blockedSince = undefined
      return undefined
    }
    const interactive = stream.interactive(now)
    if (interactive && scheduler.mixed && stream.knownInteractive(now)) this.#company.note(now)
    const carrier = this.#carrierForData(stream, interactive)
    if (carrier === undefined) {
      this.#core.blockedSince ??= now
      return undefined
    }
    const most = Math.min(carrier.options.sendMost - MAX_DATA_HEADER, carrier.flight.rate.message)
    const piece = stream.sending.take(most, stream.credit)
    if (piece === undefined) {
      scheduler.skip(stream)
      return this.#data(main)
    }
    const { offset, bytes, memory, changes } = piece
    const follows = stream.lastCarrier === carrier.number && stream.lastEnd === offset
    const headLength = writeDataHeader(this.#scratch, stream.id, follows ? undefined : offset)
    stream.lastCarrier = carrier.number
    stream.lastEnd = offset + bytes.length
    this.#core.flood.worked(bytes.length)
    const sent = new Sent('data', headLength + bytes.length, stream, offset, bytes, memory)
    this.#push(carrier, sent)
    scheduler.sent(stream, bytes.length, quantum, now)
    stream.afterSend(bytes.length)
    return this.#out(carrier, this.#scratch, headLength, bytes, memory, changes)
  }

  #carrierForData(stream: Stream, interactive: boolean): Carrier | undefined {
    const slack = interactive ? SLACK : 0
    if (stream.confirmed) {
      const free = this.#keptFree()
      if (interactive && free !== undefined && this.#hasRoom(free, slack)) return free
      return this.#fastest(0, slack, interactive ? undefined : free)
    }
    const carrier = this.#core.carriers.get(stream.openCarrier)
    return carrier?.alive && this.#hasRoom(carrier, slack) ? carrier : undefined
  }

  /** Whether streams that send little have sent beside bulk of late. */
  get #shared(): boolean {
    return this.#company.has(this.#core.now)
  }

  /**
   * Beside streams that send little, bulk leaves one of several carriers free: what it has handed to the system on the others
   * waits there as long as TCP sees fit, with all that comes after it.
   */
  #keptFree(): Carrier | undefined {
    if (!this.#shared) return (this.#express = undefined)
    const good = this.#core.alive.filter(({ good }) => good)
    if (good.length < 2) return (this.#express = undefined)
    if (this.#express === undefined || !good.includes(this.#express)) {
      this.#express = good.reduce((best, one) => (one.flight.bytes < best.flight.bytes ? one : best))
    }
    return this.#express
  }

  #hasRoom(carrier: Carrier, slack: number): boolean {
    const { rate } = carrier.flight
    rate.shared = this.#shared
    return carrier.flight.bytes < rate.window + slack
  }

  /**
   * The carrier on which a message is expected to arrive first: one that gives no sign, or is leaving, only where there is no
   * other. With `slack` given, only among those with room for data, for which it waits, and never `but`.
   */
  #fastest(size: number, slack?: number, but?: Carrier): Carrier | undefined {
    let best: Carrier | undefined
    let least = Number.POSITIVE_INFINITY
    let good = false
    for (const carrier of this.#core.alive) {
      if (carrier === but) continue
      if (!carrier.good && good) continue
      if (carrier.good && !good) {
        good = true
        best = undefined
        least = Number.POSITIVE_INFINITY
      }
      if (slack !== undefined && !this.#hasRoom(carrier, slack)) continue
      const delay = carrier.expectedDelay(size) - (carrier === this.#latest ? worthAChange(carrier) : 0)
      if (delay >= least) continue
      best = carrier
      least = delay
    }
    return best
  }

  #push(carrier: Carrier, sent: Sent): void {
    carrier.flight.push(sent, this.#core.now)
    this.#latest = carrier
    this.#last = sent
  }

  #quiet(carrier: Carrier, frame: Frame): OutgoingMessage {
    carrier.flight.pushNothing()
    const head = encodeFrame(frame)
    return this.#out(carrier, head, head.length, undefined, undefined, 'nothing')
  }

  #control(carrier: Carrier, kind: SentKind, frame: Frame, stream?: Stream, offset = 0): OutgoingMessage {
    const head = encodeFrame(frame)
    this.#push(carrier, new Sent(kind, head.length, stream, offset))
    return this.#out(carrier, head, head.length, undefined, undefined, 'nothing')
  }

  #out(
    carrier: Carrier,
    head: Uint8Array,
    headLength: number,
    body: Uint8Array | undefined,
    memory: Memory | undefined,
    changes: Changes,
  ): OutgoingMessage {
    carrier.spokeAt = this.#core.now
    const message = this.#message
    message.carrier = carrier.number
    message.head = head
    message.headLength = headLength
    message.body = body
    message.memory = memory
    message.changes = changes
    return message
  }
}

function worthAChange({ flight }: Carrier): number {
  return (flight.rate.least ?? NEAR) < NEAR ? WORTH_A_CHANGE : 0
}
