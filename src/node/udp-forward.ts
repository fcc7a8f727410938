import { createSocket, type Socket } from 'node:dgram'
import { type Endpoint, type Forward, formatEndpoint } from '../config/index.ts'
import { bindError } from './local-listener.ts'
import { type SessionForwardEvents, wireTarget } from './session-forward.ts'
import type { SessionTunnel } from './session-tunnel.ts'
import { openFailure } from './splice-failure.ts'
import { UDP_IDLE, UdpFlow } from './udp-flow.ts'

/** Senders at once; the one that has been there longest makes room. */
const MOST_FLOWS = 4096

type UdpEndpoint = Extract<Endpoint, { port: number }>

/** A local UDP port whose datagrams go to one target: one flow for each sender, gone after a minute of silence. */
export class UdpForward {
  readonly #forward: Forward
  readonly #tunnel: SessionTunnel
  readonly #events: SessionForwardEvents
  readonly #idle: number
  readonly #socket: Socket
  readonly #flows = new Map<string, UdpFlow>()
  #closed = false
  /** Datagrams that were too long, or came while there was no session. */
  dropped = 0

  constructor(forward: Forward, tunnel: SessionTunnel, events: SessionForwardEvents, idle: number = UDP_IDLE) {
    const { host } = forward.listen as UdpEndpoint
    this.#forward = forward
    this.#tunnel = tunnel
    this.#events = events
    this.#idle = idle
    this.#socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    this.#socket.on('message', (message, from) => this.#message(message, from.address, from.port))
  }

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound */
  listen(): Promise<UdpEndpoint> {
    const { host, port } = this.#forward.listen as UdpEndpoint
    return new Promise((resolve, reject) => {
      this.#socket.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
      this.#socket.bind(port, host, () => {
        this.#socket.removeAllListeners('error')
        // An ICMP error for one sender is no reason to stop for the others.
        this.#socket.on('error', () => {})
        const bound = this.#socket.address()
        resolve({ kind: 'udp', host: bound.address, port: bound.port })
      })
    })
  }

  get connections(): number {
    return this.#flows.size
  }

  close(): void {
    this.#closed = true
    for (const flow of [...this.#flows.values()]) flow.close()
    this.#socket.close()
  }

  #message(message: Buffer, address: string, port: number): void {
    const key = `${address} ${port}`
    const flow = this.#flows.get(key) ?? this.#open(key, address, port)
    if (flow === undefined || !flow.send(message)) this.dropped++
  }

  #open(key: string, address: string, port: number): UdpFlow | undefined {
    const { link } = this.#tunnel
    const { target } = this.#forward
    if (link === undefined || target.kind === 'dynamic') return undefined
    const name = formatEndpoint(target)
    if (this.#flows.size >= MOST_FLOWS) this.#flows.values().next().value?.close()
    const flow = new UdpFlow(
      link,
      wireTarget(target),
      {
        datagram: (payload) => {
          if (!this.#closed) this.#socket.send(payload, port, address, () => {})
        },
        closed: (failure) => {
          this.#flows.delete(key)
          if (failure !== undefined) this.#events.failed(name, openFailure(failure.code, failure.text, name))
        },
      },
      this.#idle,
    )
    this.#flows.set(key, flow)
    this.#events.opened?.(name)
    return flow
  }
}
