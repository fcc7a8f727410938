import { lookup } from 'node:dns/promises'
import { type Forward, type ForwardTarget, formatEndpoint, formatHostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ClientLink } from '../link/index.ts'
import { ProxyHandshake } from '../proxy/index.ts'
import type { Stream, StreamHandler } from '../session/index.ts'
import { OPEN_ERRORS, OpenError } from '../wire/index.ts'
import { dial, TCP_OPTIONS } from './dial.ts'
import { errnoCode } from './errno.ts'
import { proxyFailure } from './proxy-door.ts'
import { type SessionForwardEvents, wireTarget } from './session-forward.ts'
import { SocketStream } from './socket.ts'
import { Splice } from './splice.ts'
import { spliceFailure } from './splice-failure.ts'
import { UDP_IDLE } from './udp-flow.ts'
import type { UdpEndpoint } from './udp-port.ts'
import { relayUdp, type UdpRelayOutcome } from './udp-relay.ts'

const DIAL_TIMEOUT = 10_000

export interface ReverseForwardEvents extends SessionForwardEvents {
  /** The server listens, at this address. */
  listening(address: string): void
  /** The server does not, or no longer does. */
  refused(error: SluiceError): void
}

/** What the server listens on for us; each connection is dialled from here, to the one target that was given for it. */
export class ReverseForward {
  readonly #forward: Forward
  readonly #events: ReverseForwardEvents
  readonly #live = new Set<{ abort(): void }>()
  #listener: { readonly link: ClientLink; readonly stream: Stream } | undefined
  #closed = false
  /** Where the server listens, as it says; undefined while it does not. */
  address: string | undefined

  constructor(forward: Forward, events: ReverseForwardEvents) {
    this.#forward = forward
    this.#events = events
  }

  get connections(): number {
    return this.#live.size
  }

  /** Asks the server of this link to listen. With a new link it is asked again. */
  attach(link: ClientLink): void {
    if (this.#closed) return
    const listen = wireTarget(this.#forward.listen)
    const name = formatEndpoint(this.#forward.listen)
    const gone = (why: string) => {
      if (this.#listener?.link !== link) return
      this.#listener = undefined
      this.address = undefined
      if (!this.#closed && link.ready) this.#events.refused(listenFailure(name, OpenError.GENERAL, why))
    }
    link.withSession((session) => {
      const handler: StreamHandler = {
        data: () => {},
        opened: (address) => {
          this.address = address
          this.#events.listening(address)
        },
        failed: (code, text) => {
          if (this.#listener?.link === link) this.#listener = undefined
          if (link.ready) this.#events.refused(listenFailure(name, code, text))
        },
        ended: () => gone('the server ended it'),
        reset: (_, text) => gone(text || 'the server ended it'),
      }
      const stream = session.listen(listen, handler, performance.now())
      this.#listener = { link, stream }
    })
  }

  /** Whether a stream that the server opened is of this listener. */
  owns(link: ClientLink, stream: Stream): boolean {
    const listener = this.#listener
    return (
      listener !== undefined &&
      listener.link === link &&
      stream.target.kind === 'ACCEPTED' &&
      stream.target.listener === listener.stream.id
    )
  }

  /** Takes a connection that came at the server. */
  accept(link: ClientLink, stream: Stream): void {
    const { target } = this.#forward
    if (target.kind === 'dynamic') this.#dynamic(link, stream)
    else if (target.kind === 'udp') void this.#datagrams(link, stream, target)
    else void this.#connect(link, stream, target)
  }

  /** Has the server listen no more; connections go on. */
  retire(): void {
    this.#closed = true
    const listener = this.#listener
    this.#listener = undefined
    listener?.link.touch()
    listener?.stream.end()
  }

  close(): void {
    this.retire()
    for (const one of this.#live) one.abort()
  }

  async #connect(link: ClientLink, stream: Stream, target: StreamTarget, door?: Door): Promise<void> {
    const name = formatEndpoint(target)
    try {
      const tcp = await dialHere(target)
      link.touch()
      if (stream.sendState !== 'open') return tcp.reset()
      if (door === undefined) stream.accept(name)
      else door.connected(tcp)
      this.#events.opened?.(name)
      const splice = new Splice(tcp, link, (outcome) => {
        this.#live.delete(splice)
        const failure = spliceFailure(outcome, name)
        if (failure === undefined) this.#events.finished?.(name, outcome)
        else this.#events.failed(name, failure)
      })
      this.#live.add(splice)
      splice.start(stream)
      stream.start(splice)
      if (door?.ended()) splice.ended()
    } catch (error) {
      const { code, text } = errnoCode(error, name)
      link.touch()
      if (door === undefined) stream.refuse(code, text)
      else door.refused(code)
      this.#events.failed(name, new SluiceError('ERR_SLUICE_TARGET', `${name} cannot be reached from here: ${text}`))
    }
  }

  /** A sender of datagrams at the server, and the target here. */
  async #datagrams(link: ClientLink, stream: Stream, target: UdpEndpoint): Promise<void> {
    const name = formatEndpoint(target)
    try {
      const { address } = await lookup(target.host)
      const one = { abort: () => {} }
      const done = (moved: UdpRelayOutcome) => {
        this.#live.delete(one)
        this.#events.finished?.(name, { ...moved, error: undefined })
      }
      const to = { address, port: target.port, idle: UDP_IDLE }
      one.abort = await relayUdp(stream, link, to, done)
      this.#live.add(one)
      link.touch()
      stream.accept(formatHostPort({ host: address, port: target.port }))
      this.#events.opened?.(name)
    } catch (error) {
      const { code, text } = errnoCode(error, name)
      link.touch()
      stream.refuse(code, text)
      this.#events.failed(name, new SluiceError('ERR_SLUICE_TARGET', `${name} cannot be reached from here: ${text}`))
    }
  }

  /** A program on the far side says by SOCKS or HTTP, on the stream itself, where it wants to go from here. */
  #dynamic(link: ClientLink, stream: Stream): void {
    const handshake = new ProxyHandshake()
    const say = (bytes: Uint8Array | undefined) => {
      if (bytes !== undefined && bytes.length > 0) stream.write(bytes.slice())
    }
    stream.accept('socks')
    stream.start({
      data: (bytes) => {
        stream.consume(bytes.length)
        const { reply, request, error } = handshake.push(bytes.slice())
        say(reply)
        if (error !== undefined || request?.command === 'associate') {
          if (request !== undefined) say(handshake.failed('unsupported'))
          return stream.end()
        }
        if (request === undefined) return
        const target = { kind: 'tcp', host: request.host, port: request.port } as const
        void this.#connect(link, stream, target, keepFor(stream, handshake, request.first))
      },
      ended: () => stream.end(),
      reset: () => {},
    })
  }
}

/** Where connections can lead: not datagrams, which are no connections. */
type StreamTarget = Exclude<ForwardTarget, { kind: 'dynamic' | 'udp' }>

/** What a proxy protocol on a stream has to say once its target is dialled, and what came meanwhile. */
interface Door {
  connected(tcp: SocketStream): void
  refused(code: number): void
  /** Whether the far side has ended its direction meanwhile. */
  ended(): boolean
}

/** Keeps what follows a request until its target is connected; without credit for more, so that it is bounded. */
function keepFor(stream: Stream, handshake: ProxyHandshake, first: Uint8Array): Door {
  const early = [first]
  let held = 0
  let ended = false
  stream.start({
    data: (bytes) => {
      held += bytes.length
      early.push(bytes.slice())
    },
    ended: () => (ended = true),
    reset: () => {},
  })
  return {
    connected: (tcp) => {
      const answer = handshake.accepted({ host: '0.0.0.0', port: 0 })
      if (answer.length > 0) stream.write(answer)
      for (const bytes of early) if (bytes.length > 0) tcp.write(Buffer.from(bytes))
      stream.consume(held)
    },
    refused: (code) => {
      stream.write(handshake.failed(proxyFailure(code)))
      stream.end()
    },
    ended: () => ended,
  }
}

async function dialHere(target: StreamTarget): Promise<SocketStream> {
  if (target.kind === 'tcp') return dial([target.host], target.port, { timeout: DIAL_TIMEOUT })
  if (target.kind !== 'unix')
    throw new SluiceError('ERR_SLUICE_USAGE', 'a reverse forward leads to TCP or a unix socket')
  const stream = SocketStream.connect({ path: target.path, ...TCP_OPTIONS })
  return new Promise((resolve, reject) => {
    stream.socket.once('connect', () => resolve(stream))
    stream.socket.once('error', reject)
  })
}

function listenFailure(name: string, code: number, text: string): SluiceError {
  if (code === OpenError.NOT_ALLOWED) {
    return new SluiceError('ERR_SLUICE_POLICY', `the server does not let us listen on ${name}`, {
      remedy: `On the server, allow it: --allow-reverse ${name}`,
    })
  }
  const reason = text.replace(/[^\x20-\x7e]/g, '?') || OPEN_ERRORS[code]?.errno
  return new SluiceError('ERR_SLUICE_TARGET', `the server cannot listen on ${name}: ${reason}`)
}
