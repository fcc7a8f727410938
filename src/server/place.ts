import { formatEndpoint, formatHostPort } from '../config/index.ts'
import {
  LocalListener,
  type OpenFlow,
  type SocketStream,
  Splice,
  type SpliceOutcome,
  type StreamEndpoint,
  type UdpEndpoint,
  UdpFlow,
  UdpPort,
} from '../node/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import { ResetCode } from '../wire/index.ts'
import type { ListenerEvents, ListeningSession } from './listeners.ts'
import { metered } from './metered.ts'
import type { ReverseVerdict } from './policy/reverse.ts'

/** What clients may have listened on. */
export type Bind = StreamEndpoint | UdpEndpoint

/** One client that listens on a place. */
export interface Member {
  readonly of: ListeningSession
  readonly owner: string
  readonly stream: Stream
  readonly events: ListenerEvents
  readonly verdict: () => ReverseVerdict
  /** What came by it and runs: each call ends one. */
  readonly carried: Set<() => void>
}

/** An address that is bound, and the clients that listen on it: who comes is given to one after another, those that are away left out. */
export class Place {
  readonly shared: boolean
  readonly #name: string
  readonly #port: LocalListener | UdpPort
  readonly #members: Member[] = []
  #turn = 0
  #listening = false
  /** The address in use. @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound */
  readonly bound: Promise<Bind>

  constructor(bind: Bind, shared: boolean, udpIdle: number) {
    this.shared = shared
    this.#name = formatEndpoint(bind)
    this.#port =
      bind.kind === 'udp'
        ? new UdpPort(bind, (...sender) => this.#flow(sender, udpIdle))
        : new LocalListener(bind, (tcp) => this.#accepted(tcp))
    this.bound = this.#port.listen().then((bound) => {
      this.#listening = true
      // What is closed while it is being bound would be bound all the same.
      if (this.#members.length === 0) this.#port.close()
      return bound
    })
  }

  get members(): readonly Member[] {
    return this.#members
  }

  has(member: Member): boolean {
    return this.#members.includes(member)
  }

  join(member: Member): void {
    this.#members.push(member)
  }

  /** With the last one the address is free. */
  leave(member: Member): void {
    const index = this.#members.indexOf(member)
    if (index < 0) return
    this.#members.splice(index, 1)
    if (this.#members.length === 0 && this.#listening) this.#port.close()
  }

  /** The next in turn that is there; if none is, the next in turn, who may come back. */
  #next(): Member | undefined {
    const { length } = this.#members
    const order = this.#members.map((_, index) => this.#members[(this.#turn + index) % length]!)
    const chosen = order.find(({ of }) => !of.session.waiting) ?? order[0]
    if (chosen !== undefined) this.#turn = (this.#members.indexOf(chosen) + 1) % length
    return chosen
  }

  #accepted(tcp: SocketStream): void {
    const member = this.#next()
    if (member === undefined) return tcp.reset()
    // A turn later what came at once has been read, and travels with OPEN.
    setImmediate(() => this.#carry(member, tcp))
  }

  #carry(member: Member, tcp: SocketStream): void {
    if (!this.has(member)) return tcp.reset()
    const { of, carried } = member
    const { remoteAddress, remotePort } = tcp.socket
    const origin = remoteAddress === undefined ? '' : formatHostPort({ host: remoteAddress, port: remotePort ?? 0 })
    of.pump.touch()
    const lease = member.events.lease(this.#name, (why) => this.#cut(of, () => splice.abort(ResetCode.POLICY, why)))
    if (lease === undefined) return tcp.reset()
    const ended = this.#begin(member)
    const splice: Splice = new Splice(metered(tcp, lease), of.pump, (outcome) => {
      carried.delete(end)
      lease.release()
      ended(outcome)
    })
    const end = () => splice.abort(ResetCode.POLICY)
    carried.add(end)
    splice.start(this.#open(member, origin, splice))
  }

  #flow([from, events]: Parameters<OpenFlow>, idle: number): UdpFlow | undefined {
    const member = this.#next()
    if (member === undefined) return undefined
    const { of, carried } = member
    const lease = member.events.lease(this.#name, () => this.#cut(of, () => end()))
    if (lease === undefined) return undefined
    of.pump.touch()
    const ended = this.#begin(member)
    const flow: UdpFlow = new UdpFlow(
      of.pump,
      (handler) => this.#open(member, formatHostPort(from), handler),
      {
        datagram: events.datagram,
        closed: (failure) => {
          carried.delete(end)
          lease.release()
          events.closed(failure)
          const error = failure && ({ from: 'open', ...failure } as const)
          ended({ ...(flow?.moved ?? { sent: 0, received: 0 }), error })
        },
      },
      idle,
    )
    const end = () => flow.abort(ResetCode.POLICY)
    carried.add(end)
    return flow
  }

  /** Ends something outside of the pump's own turns. */
  #cut({ pump }: ListeningSession, end: () => void): void {
    pump.touch()
    end()
    pump.flush()
  }

  #open({ of, stream }: Member, origin: string, handler: StreamHandler): Stream {
    return of.session.open({ kind: 'ACCEPTED', listener: stream.id, origin }, handler, performance.now())
  }

  /** Tells that one has come; what it returns tells of its end. */
  #begin({ events, verdict }: Member): (outcome: SpliceOutcome) => void {
    const since = performance.now()
    events.accepted(this.#name, verdict().why)
    return (outcome) => events.ended(this.#name, outcome, performance.now() - since)
  }
}
