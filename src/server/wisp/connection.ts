import { formatHostPort, type HostPort, parseHost } from '../../config/index.ts'
import { messageOf, SluiceError } from '../../errors/index.ts'
import { type ByteStream, errnoCode, HIGH_MARK, UdpTarget, type WebSocketStream } from '../../node/index.ts'
import { CloseCode, MessageAssembler, Opcode } from '../../websocket/index.ts'
import { OpenError } from '../../wire/index.ts'
import type { Dialler } from '../dialler.ts'
import type { ConnectionOutcome } from '../live.ts'
import { metered } from '../metered.ts'
import type { Policy, Protocol } from '../policy/policy.ts'
import { allows, type Use, verdictOf } from '../policy/rules.ts'
import type { Lease } from '../quotas.ts'
import { closePacket, continuePacket, dataHeader, parseWispPacket, WispClose, type WispPacket } from './packets.ts'

/** Packets that a client may send on a stream before it hears CONTINUE again. */
const CREDIT = 128
/**
 * CONTINUE sets the client's count, whatever is under way: as it is sent at half, half of the credit before may still come.
 */
const MOST_PACKETS = CREDIT * 1.5
/** Bytes that a stream may have waiting for its target. */
const MOST_BYTES = 16 * 1024 * 1024
/** A client's packet is this long at most, in bytes. */
export const MAX_WISP_MESSAGE: number = 1024 * 1024

/** What happens on a Wisp connection, for logs. */
export interface WispEvents {
  /** @param rule which rule allowed it */
  opened(target: string, rule: string): void
  ended(target: string, outcome: ConnectionOutcome): void
  failed(target: string, code: number, text: string, detail: string): void
  closed(): void
}

export interface WispOptions {
  /** What its owner may reach, at this moment. */
  readonly policy: () => Policy
  readonly dialler: Dialler
  readonly client: HostPort
  /** Streams at once. */
  readonly streams: number
  readonly udpIdle: number
  /** What a stream counts against. @throws SluiceError `ERR_SLUICE_POLICY` */
  readonly lease: (end: (why: string) => void) => Lease
  readonly events: WispEvents
}

/** The far end of a stream. */
interface Sink {
  readonly address: string
  write(bytes: Uint8Array): unknown
  end(): void
  destroy(): void
  readonly tcp?: ByteStream
}

/** Where a stream leads; it is being dialled until there is a sink. */
interface WispStream {
  readonly name: string
  /** What came before the target was there, then nothing. */
  early: Uint8Array[]
  /** Packets since the last CONTINUE. */
  packets: number
  up: number
  down: number
  /** What it is connected to, and since when. */
  use?: Use
  since: number
  sink: Sink | undefined
  over: boolean
  lease?: Lease
}

/**
 * One Wisp v1 connection: many TCP and UDP streams on one WebSocket, under the same policy as everything else. Wisp counts packets
 * towards the server only; towards the client no target is read while the WebSocket is behind.
 */
export class WispConnection {
  readonly #ws: WebSocketStream
  readonly #options: WispOptions
  readonly #streams = new Map<number, WispStream>()
  #closed = false

  constructor(ws: WebSocketStream, options: WispOptions) {
    this.#ws = ws
    this.#options = options
  }

  start(): void {
    const messages = new MessageAssembler((_, message) => this.#message(message))
    this.#ws.start({
      messageStart: (opcode) => {
        if (opcode === Opcode.text) this.#ws.close(CloseCode.unsupported, 'Wisp is binary')
        messages.messageStart(opcode)
      },
      payload: (bytes) => messages.payload(bytes),
      messageEnd: () => messages.messageEnd(),
      closeReceived: ({ code }) => this.#ws.close(code === CloseCode.none ? CloseCode.normal : code),
      drained: () => {
        for (const { sink } of this.#streams.values()) sink?.tcp?.resume()
      },
      closed: () => this.#end(),
    })
    this.#send(continuePacket(0, CREDIT))
  }

  /** Ends it all. */
  shutDown(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  #send(packet: Buffer): void {
    if (!this.#closed) this.#ws.sendMessage(Opcode.binary, packet)
  }

  #message(bytes: Uint8Array): void {
    const packet = parseWispPacket(bytes)
    if (packet === undefined) return this.#ws.close(CloseCode.protocolError, 'not a Wisp packet of a client')
    const stream = this.#streams.get(packet.stream)
    if (packet.type === 'connect') {
      if (stream !== undefined) return this.#ws.close(CloseCode.protocolError, `stream ${packet.stream} is in use`)
      void this.#connect(packet)
    } else if (stream === undefined) return
    else if (packet.type === 'close') this.#finish(packet.stream, stream, 'closed by the client')
    else this.#data(packet.stream, stream, packet.payload)
  }

  #data(id: number, stream: WispStream, payload: Uint8Array): void {
    const waiting = stream.sink === undefined ? stream.up : (stream.sink.tcp?.backlog ?? 0)
    if (++stream.packets > MOST_PACKETS || waiting > MOST_BYTES)
      return this.#close(id, stream, WispClose.throttled, 'more packets than allowed')
    stream.up += payload.length
    if (stream.sink === undefined) stream.early.push(payload)
    else {
      stream.sink.write(payload)
      this.#credit(id, stream)
    }
  }

  /** Gives credit again once half of it is used and the target has taken it. */
  #credit(id: number, stream: WispStream): void {
    if (stream.packets < CREDIT / 2 || (stream.sink?.tcp?.backlog ?? 0) > 0) return
    stream.packets = 0
    this.#send(continuePacket(id, CREDIT))
  }

  async #connect({ stream: id, udp, host, port }: Extract<WispPacket, { type: 'connect' }>): Promise<void> {
    const { events, streams } = this.#options
    const name = `${host}:${port}${udp ? '/udp' : ''}`
    const stream: WispStream = { name, early: [], packets: 0, up: 0, down: 0, sink: undefined, since: 0, over: false }
    if (this.#streams.size >= streams) return this.#send(closePacket(id, WispClose.throttled))
    this.#streams.set(id, stream)
    try {
      const target = this.#check(host, port, udp ? 'udp' : 'tcp')
      stream.lease = this.#options.lease((why) => this.#cut(id, stream, WispClose.throttled, why))
      stream.sink = await (udp ? this.#openUdp(id, stream, target) : this.#openTcp(id, stream, target))
      const protocol = udp ? 'udp' : 'tcp'
      stream.use = { target, protocol, address: stream.sink.address }
      if (stream.over || this.#closed) {
        stream.lease.release()
        return stream.sink.destroy()
      }
      stream.since = performance.now()
      events.opened(name, verdictOf(this.#options.policy(), stream.use).why)
      for (const bytes of stream.early.splice(0)) stream.sink.write(bytes)
      this.#credit(id, stream)
    } catch (error) {
      const { code, text } = errnoCode(error, name)
      events.failed(name, code, text, messageOf(error))
      stream.lease?.release()
      stream.over = true
      if (this.#streams.delete(id)) this.#send(closePacket(id, CLOSE_OF[code] ?? reasonOf(error)))
    }
  }

  /** @throws SluiceError `ERR_SLUICE_POLICY`, `ERR_SLUICE_USAGE` */
  #check(hostText: string, port: number, protocol: Protocol): HostPort {
    const target = { host: parseHost(hostText, 'host'), port }
    if (port === 0) throw new SluiceError('ERR_SLUICE_USAGE', `${formatHostPort(target)} is not an address`)
    const { allowed, why } = this.#options.policy().checkTarget(target, protocol)
    if (!allowed) throw new SluiceError('ERR_SLUICE_POLICY', why)
    return target
  }

  async #openTcp(id: number, stream: WispStream, target: HostPort): Promise<Sink> {
    const { dialler, policy, client } = this.#options
    const socket = await dialler.dial({ target, named: false }, policy(), client)
    const tcp = metered(socket, stream.lease!)
    const head = dataHeader(id)
    tcp.start({
      read: (slab, start, end) => {
        stream.down += end - start
        this.#ws.sendParts(head, head.length, new Uint8Array(slab.bytes.subarray(start, end)))
        if (this.#ws.backlog >= HIGH_MARK) tcp.pause()
      },
      // Wisp has no half-close: the target's end is the end.
      ended: () => this.#close(id, stream, WispClose.voluntary, 'both ends'),
      drained: () => {},
      written: () => this.#credit(id, stream),
      finished: () => {},
      closed: (error) =>
        this.#close(
          id,
          stream,
          error === undefined ? WispClose.voluntary : WispClose.network,
          error?.message ?? 'both ends',
        ),
    })
    return {
      address: socket.socket.remoteAddress ?? '',
      write: (bytes) => tcp.write(Buffer.from(bytes)),
      end: () => tcp.end(),
      destroy: () => tcp.destroy(),
      tcp,
    }
  }

  async #openUdp(id: number, stream: WispStream, target: HostPort): Promise<Sink> {
    const { dialler, udpIdle } = this.#options
    const [address] = await dialler.addresses({ target, named: false }, this.#options.policy(), 'udp')
    const head = dataHeader(id)
    const udp = await UdpTarget.open(
      address!,
      target.port,
      udpIdle,
      (message) => {
        if (stream.lease!.take(message.length) > 0) return
        stream.down += message.length
        // A datagram that the line is behind with is dropped, not queued.
        if (this.#ws.backlog < HIGH_MARK) this.#ws.sendParts(head, head.length, message)
      },
      () => this.#close(id, stream, WispClose.idle, 'idle'),
    )
    const close = () => udp.close()
    return {
      address: address!,
      write: (bytes) => stream.lease!.take(bytes.length) === 0 && udp.send(bytes),
      end: close,
      destroy: close,
    }
  }

  /** Ends the streams to what is not allowed any more; returns how many. */
  recheck(): number {
    const policy = this.#options.policy()
    let ended = 0
    for (const [id, stream] of [...this.#streams]) {
      if (stream.use === undefined || allows(policy, stream.use)) continue
      this.#cut(id, stream, WispClose.blocked, 'not allowed any more')
      ended++
    }
    return ended
  }

  /** Ends a stream that may not go on. */
  #cut(id: number, stream: WispStream, reason: number, how: string): void {
    stream.sink?.tcp?.reset()
    this.#close(id, stream, reason, how)
  }

  /** Ends a stream and tells the client. */
  #close(id: number, stream: WispStream, reason: number, how: string): void {
    if (stream.over) return
    this.#send(closePacket(id, reason))
    this.#finish(id, stream, how)
  }

  /** What the client sent before it closed is still delivered. */
  #finish(id: number, stream: WispStream, how: string): void {
    if (stream.over) return
    stream.over = true
    this.#streams.delete(id)
    if (stream.sink === undefined) return
    stream.lease?.release()
    const duration = performance.now() - stream.since
    this.#options.events.ended(stream.name, { duration, bytesUp: stream.up, bytesDown: stream.down, how })
    const { sink } = stream
    if (sink.tcp === undefined) return sink.destroy()
    sink.tcp.start({
      read: () => {},
      ended: () => {},
      drained: () => {},
      finished: () => sink.destroy(),
      closed: () => {},
    })
    sink.tcp.resume()
    sink.end()
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    for (const [id, stream] of [...this.#streams]) this.#finish(id, stream, 'the WebSocket is gone')
    this.#options.events.closed()
  }
}

const CLOSE_OF: Readonly<Record<number, number>> = {
  [OpenError.NOT_ALLOWED]: WispClose.blocked,
  [OpenError.REFUSED]: WispClose.refused,
  [OpenError.TIMED_OUT]: WispClose.timeout,
  [OpenError.NAME_NOT_FOUND]: WispClose.unreachable,
  [OpenError.HOST_UNREACHABLE]: WispClose.unreachable,
  [OpenError.NETWORK_UNREACHABLE]: WispClose.unreachable,
}

function reasonOf(error: unknown): number {
  return error instanceof SluiceError && error.code === 'ERR_SLUICE_USAGE' ? WispClose.badInfo : WispClose.network
}
