import { CloseReason, Feature, type Frame, malformed, type Target, Violation } from '../wire/index.ts'
import type { Carrier, CarrierOwner } from './carrier.ts'
import type { Core } from './core.ts'
import type { Memory } from './memory.ts'
import type { Stream } from './stream.ts'

/** What incoming frames make known beyond streams. */
export interface IncomingEvents {
  opened(stream: Stream): void
  goaway(scope: 'carrier' | 'session', carrier: Carrier, limit: number): void
  /** The peer's CLOSE. */
  closed(code: number, text: string): void
}

type Inner<T extends Frame['type']> = Extract<Frame, { type: T }>

/** Applies the frames of the peer to a session: every rule of spec §5 to §8 about what may come. */
export class Incoming implements CarrierOwner {
  readonly #core: Core
  readonly #events: IncomingEvents

  constructor(core: Core, events: IncomingEvents) {
    this.#core = core
    this.#events = events
  }

  open(carrier: Carrier, { stream: id, target }: Inner<'OPEN'>, declared: number | undefined): void {
    this.#checkOpen(target.kind)
    const found = this.#core.streams.peerOpens(id, 'OPEN', target)
    if (found === undefined) return this.#ignored('OPEN')
    carrier.current = found.stream
    carrier.at = 0
    if (found.fresh) this.#events.opened(found.stream)
    if (declared !== undefined && declared > 0) this.#checkData(found.stream, 'OPEN', 0, declared)
  }

  #checkOpen(kind: Target['kind']): void {
    const core = this.#core
    if ((kind === 'ACCEPTED') === (core.role === 'server')) {
      throw new Violation(CloseReason.UNKNOWN_FRAME, `OPEN: kind ${kind} may not come from a ${other(core)}`)
    }
    this.#checkKind('OPEN', kind)
  }

  #checkKind(frame: 'OPEN' | 'LISTEN', kind: Target['kind']): void {
    const feature = kind === 'UDP' ? Feature.datagram : kind === 'UNIX' ? Feature.unix : undefined
    if (feature !== undefined && !this.#core.has(feature)) {
      throw new Violation(CloseReason.UNKNOWN_FRAME, `${frame}: kind ${kind} was not agreed on`)
    }
  }

  data(carrier: Carrier, id: number, offset: number | undefined, declared: number | undefined): void {
    const frame = offset === undefined ? 'DATA_NEXT' : 'DATA'
    const stream = this.#core.streams.find(id, frame)
    if (stream === undefined) return this.#ignored(frame)
    const at = offset ?? stream.nextOn(carrier.number)
    if (at === undefined) {
      throw new Violation(
        CloseReason.STREAM_STATE,
        `DATA_NEXT: nothing of stream ${id} came before on carrier ${carrier.number}`,
      )
    }
    if (stream.opener && !stream.confirmed) stream.confirm()
    carrier.current = stream
    carrier.at = at
    this.#checkData(stream, frame, at, declared ?? 0)
  }

  payload(carrier: Carrier, bytes: Uint8Array, memory: Memory | undefined): void {
    const stream = carrier.current
    if (stream === undefined) return
    this.#core.arrived(bytes.length)
    this.#checkData(stream, 'DATA', carrier.at, bytes.length)
    const at = carrier.at
    carrier.at += bytes.length
    stream.receive(at, bytes, memory)
  }

  /** Whether a stream may have these bytes, before any is taken. */
  #checkData(stream: Stream, frame: string, offset: number, length: number): void {
    if (!stream.carriesData) {
      throw new Violation(CloseReason.STREAM_STATE, `${frame}: stream ${stream.id} carries no bytes`)
    }
    const end = offset + length
    if (end > Number.MAX_SAFE_INTEGER) throw malformed(`${frame}: stream ${stream.id} would pass 2^53 - 1`)
    if (stream.final >= 0 && end > stream.final) {
      throw new Violation(
        CloseReason.FINAL_OFFSET,
        `${frame}: bytes of stream ${stream.id} up to ${end}, past its end at ${stream.final}`,
      )
    }
    if (end > stream.window.granted && end > stream.seen) {
      throw new Violation(
        CloseReason.CREDIT_EXCEEDED,
        `${frame}: bytes of stream ${stream.id} up to ${end} (allowed: ${stream.window.granted})`,
      )
    }
  }

  frame(carrier: Carrier, frame: Exclude<Frame, { type: 'OPEN' }>): void {
    switch (frame.type) {
      case 'ACK':
        return this.#ack(frame)
      case 'CREDIT':
      case 'FIN':
      case 'RESET':
      case 'OPENED':
      case 'OPEN_FAILED':
      case 'DATAGRAM':
        return this.#streamFrame(frame)
      case 'MAX_STREAMS':
        return this.#maxStreams(frame)
      case 'PING':
        this.#spend('PING')
        carrier.pong = frame.opaque
        return this.#core.wake()
      case 'PONG':
        return this.#spend('PONG')
      case 'GOAWAY':
        this.#spend('GOAWAY')
        return this.#events.goaway(frame.scope, carrier, frame.limit)
      case 'CLOSE':
        return this.#events.closed(frame.code, frame.text)
      case 'LISTEN':
        return this.#listen(frame)
      case 'IGNORED':
        return this.#ignored('an ignorable frame')
      case 'HELLO':
        throw new Violation(CloseReason.HELLO_REQUIRED, 'HELLO: a second one on a carrier')
      default:
        throw new Violation(CloseReason.UNKNOWN_FRAME, `${frame.type}: not due here`)
    }
  }

  #ack({ carrier: number, count, delay }: Inner<'ACK'>): void {
    this.#spend('ACK')
    const carrier = this.#core.carriers.get(number)
    if (carrier === undefined) throw new Violation(CloseReason.ACK_RANGE, `ACK: there was no carrier ${number}`)
    const { flight } = carrier
    if (count > flight.count) {
      throw new Violation(CloseReason.ACK_RANGE, `ACK: ${count} messages of carrier ${number} (sent: ${flight.count})`)
    }
    if (count <= flight.acked) return
    flight.ack(count, this.#core.now, delay / 1000, (sent) => this.#core.done(sent))
    carrier.suspected = false
    this.#core.roundTrip = this.#longestRoundTrip()
    this.#core.checkWriters()
    this.#core.wake()
  }

  /** Windows must last for the longest way that data of a stream may take. */
  #longestRoundTrip(): number | undefined {
    let longest: number | undefined
    for (const { flight } of this.#core.alive) {
      const { smoothed } = flight.rate
      if (smoothed !== undefined && (longest === undefined || smoothed > longest)) longest = smoothed
    }
    return longest
  }

  #streamFrame(frame: Inner<'CREDIT' | 'FIN' | 'RESET' | 'OPENED' | 'OPEN_FAILED' | 'DATAGRAM'>): void {
    const stream = this.#core.streams.find(frame.stream, frame.type)
    if (stream === undefined) return this.#ignored(frame.type)
    if (stream.opener && !stream.confirmed) stream.confirm()
    switch (frame.type) {
      case 'CREDIT':
        return this.#credit(stream, frame.offset)
      case 'FIN':
        this.#final(stream, frame.type, frame.offset)
        if (stream.receiveState === 'open') stream.receiveState = 'sized'
        if (stream.carriesData) stream.checkEnd()
        else stream.peerEnded()
        return
      case 'RESET':
        this.#final(stream, frame.type, frame.offset)
        stream.peerReset(frame.code)
        return stream.checkOver()
      case 'OPENED':
      case 'OPEN_FAILED':
        return this.#answer(stream, frame)
      case 'DATAGRAM':
        if (stream.carries === 'datagrams') return stream.peerDatagram(frame.payload)
        if (stream.carries === 'unknown') return this.#ignored(frame.type)
        throw new Violation(CloseReason.STREAM_STATE, `DATAGRAM: stream ${stream.id} carries none`)
    }
  }

  #credit(stream: Stream, offset: number): void {
    if (offset <= stream.credit) return this.#spend('CREDIT')
    stream.credit = offset
    if (stream.sendable) this.#core.wantsData(stream)
  }

  #answer(stream: Stream, frame: Inner<'OPENED' | 'OPEN_FAILED'>): void {
    if (!stream.opener) {
      throw new Violation(CloseReason.STREAM_STATE, `${frame.type}: stream ${stream.id} is the sender's own`)
    }
    if (frame.type === 'OPENED') return stream.peerOpened(frame.address)
    stream.peerFailed(frame.code, frame.text)
    stream.checkOver()
  }

  #final(stream: Stream, frame: string, offset: number): void {
    if (stream.final >= 0 ? offset === stream.final : offset >= stream.seen) {
      stream.final = offset
      return
    }
    const known = stream.final >= 0 ? `its end is ${stream.final}` : `bytes up to ${stream.seen} have come`
    throw new Violation(CloseReason.FINAL_OFFSET, `${frame}: stream ${stream.id} would end at ${offset}, but ${known}`)
  }

  #maxStreams({ count }: Inner<'MAX_STREAMS'>): void {
    const { streams } = this.#core
    if (count <= streams.mayOpen) return this.#spend('MAX_STREAMS')
    streams.mayOpen = count
    for (const stream of streams.all()) if (stream.opener && stream.due !== 0) this.#core.wantsControl(stream)
  }

  #listen({ stream: id, target }: Inner<'LISTEN'>): void {
    if (this.#core.role !== 'server' || !this.#core.has(Feature.listen)) {
      throw new Violation(CloseReason.UNKNOWN_FRAME, `LISTEN: not agreed on, or not from a ${other(this.#core)}`)
    }
    this.#checkKind('LISTEN', target.kind)
    const found = this.#core.streams.peerOpens(id, 'LISTEN', target)
    if (found === undefined) return this.#ignored('LISTEN')
    if (found.fresh) this.#events.opened(found.stream)
  }

  #ignored(frame: string): void {
    this.#core.framesIgnored++
    this.#spend(frame)
  }

  #spend(frame: string): void {
    this.#core.flood.spend(frame, this.#core.now)
  }
}

function other(core: Core): string {
  return core.role === 'client' ? 'server' : 'client'
}
