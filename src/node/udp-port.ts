import { createSocket, type Socket } from 'node:dgram'
import type { Endpoint, HostPort } from '../config/index.ts'
import { bindError } from './local-listener.ts'
import type { UdpFlow, UdpFlowEvents } from './udp-flow.ts'

/** Senders at once; the one that has been there longest makes room. */
const MOST_FLOWS = 4096

export type UdpEndpoint = Extract<Endpoint, { kind: 'udp' }>

/**
 * Begins the flow of a new sender: what `datagram` is given goes back to it, `closed` is called once at the end.
 * Undefined where there is nobody to take it.
 */
export type OpenFlow = (from: HostPort, events: UdpFlowEvents) => UdpFlow | undefined

/** A UDP port that is bound here: one flow for each sender. */
export class UdpPort {
  readonly #bind: UdpEndpoint
  readonly #openFlow: OpenFlow
  readonly #socket: Socket
  readonly #flows = new Map<string, UdpFlow>()
  #closed = false
  /** Datagrams that were too long, or that nobody took. */
  dropped = 0

  constructor(bind: UdpEndpoint, openFlow: OpenFlow) {
    this.#bind = bind
    this.#openFlow = openFlow
    this.#socket = createSocket(bind.host.includes(':') ? 'udp6' : 'udp4')
    this.#socket.on('message', (message, from) => this.#message(message, from.address, from.port))
  }

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound */
  listen(): Promise<UdpEndpoint> {
    const { host, port } = this.#bind
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

  /** How many senders there are. */
  get connections(): number {
    return this.#flows.size
  }

  /** As {@link close}: without the port its senders cannot be answered. */
  retire(): void {
    this.close()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const flow of [...this.#flows.values()]) flow.close()
    this.#socket.close()
  }

  #message(message: Buffer, address: string, port: number): void {
    const key = `${address} ${port}`
    const flow = this.#flows.get(key) ?? this.#open(key, address, port)
    if (flow === undefined || !flow.send(message)) this.dropped++
  }

  #open(key: string, host: string, port: number): UdpFlow | undefined {
    let over = false
    if (this.#flows.size >= MOST_FLOWS) this.#flows.values().next().value?.close()
    const flow = this.#openFlow(
      { host, port },
      {
        datagram: (payload) => {
          if (!this.#closed) this.#socket.send(payload, port, host, () => {})
        },
        closed: () => {
          over = true
          this.#flows.delete(key)
        },
      },
    )
    if (flow !== undefined && !over) this.#flows.set(key, flow)
    return flow
  }
}
