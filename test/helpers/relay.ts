import { once } from 'node:events'
import net from 'node:net'

/** A TCP relay in the way, which can cut, swallow and slow what passes. */
export class Relay {
  readonly #server: net.Server
  readonly #pairs = new Set<[net.Socket, net.Socket]>()
  #target: number
  #swallow = false
  readonly #silent = new Set<[net.Socket, net.Socket]>()
  /** For the next connections, in order: after how many bytes from the server each is cut. */
  readonly #cutAfter: number[] = []
  #delay = 0
  /** What each connection brings at most, in bytes per millisecond. */
  readonly #rates = new Map<[net.Socket, net.Socket], number>()
  /** Milliseconds after which each further connection is cut. */
  oldest: number | undefined
  /** Connections so far, and cuts. */
  connections = 0
  cuts = 0
  bytes = 0

  private constructor(target: number) {
    this.#target = target
    this.#server = net.createServer({ noDelay: true }, (client) => this.#relay(client))
  }

  static async start(target: number): Promise<Relay> {
    const relay = new Relay(target)
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  /** Where new connections go from now on. */
  set target(port: number) {
    this.#target = port
  }

  /** Whether what comes vanishes: the line is dead, and nobody says so. */
  set swallow(swallow: boolean) {
    this.#swallow = swallow
  }

  /** Milliseconds that each piece is held back. */
  set delay(delay: number) {
    this.#delay = delay
  }

  /** What comes on the connection on which the client says most while `act` runs vanishes from then on. */
  async swallowBusiest(act: () => Promise<void>): Promise<void> {
    const before = new Map([...this.#pairs].map((pair) => [pair, pair[0].bytesRead]))
    await act()
    const said = (pair: [net.Socket, net.Socket]) => pair[0].bytesRead - (before.get(pair) ?? 0)
    const [busiest] = [...this.#pairs].sort((a, b) => said(b) - said(a))
    if (busiest !== undefined) this.#silent.add(busiest)
  }

  /** One of the open connections brings no more than this from now on, in bytes per millisecond. */
  slow(which: number, rate: number): void {
    this.#rates.set([...this.#pairs][which]!, rate)
  }

  /** Cuts the next connections, in order, each after so many bytes from the server. */
  cutNextAfter(...bytes: number[]): void {
    this.#cutAfter.push(...bytes)
  }

  /** Ends one of the open connections, if there is one. */
  cutOne(which: number): void {
    const pair = [...this.#pairs][which % Math.max(1, this.#pairs.size)]
    if (pair === undefined) return
    this.cuts++
    for (const socket of pair) socket.resetAndDestroy()
    this.#pairs.delete(pair)
  }

  /** How many connections are open. */
  get open(): number {
    return this.#pairs.size
  }

  /** Ends all connections at once, with a reset where the host can. */
  cut(): void {
    for (const [client, server] of this.#pairs) {
      this.cuts++
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
    this.#pairs.clear()
  }

  /** Refuses new connections while `act` runs. */
  async down(milliseconds: number): Promise<void> {
    const { port } = this
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.cut()
    })
    await new Promise((resolve) => setTimeout(resolve, milliseconds))
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #relay(client: net.Socket): void {
    this.connections++
    const server = net.connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    const pair: [net.Socket, net.Socket] = [client, server]
    this.#pairs.add(pair)
    if (this.oldest !== undefined) {
      setTimeout(() => {
        const which = [...this.#pairs].indexOf(pair)
        if (which >= 0) this.cutOne(which)
      }, this.oldest)
    }
    let left = this.#cutAfter.shift() ?? Number.POSITIVE_INFINITY
    for (const [from, to] of [pair, [server, client] as const]) {
      from.on('data', (chunk: Buffer) => {
        this.bytes += chunk.length
        if (this.#swallow || this.#silent.has(pair)) return
        if (from === server) left -= chunk.length
        if (left < 0) {
          to.write(chunk.subarray(0, chunk.length + left))
          this.cuts++
          setImmediate(() => {
            for (const socket of pair) socket.destroy()
          })
          return
        }
        const pass = () => {
          if (to.destroyed || to.write(chunk)) return
          from.pause()
          to.once('drain', () => from.resume())
        }
        const rate = this.#rates.get(pair)
        if (rate !== undefined) {
          from.pause()
          setTimeout(() => {
            from.resume()
            pass()
          }, chunk.length / rate)
        } else if (this.#delay === 0) pass()
        else setTimeout(pass, this.#delay)
      })
      from.on('error', () => {})
      from.on('end', () => to.end())
      from.on('close', () => {
        this.#pairs.delete(pair)
        to.destroy()
      })
    }
  }
}
