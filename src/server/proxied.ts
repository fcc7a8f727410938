import type { Server, Socket } from 'node:net'
import { type HostPort, parseIPv4, parseIPv6 } from '../config/index.ts'
import { messageOf } from '../errors/index.ts'
import { formatProxyHeader, type ProxyHeader, ProxyHeaderParser } from '../proxy/index.ts'
import { Networks, plainAddress } from './networks.ts'

/** Whom connections are really from, where a proxy that is trusted says so (PROXY protocol, in). */
export class ProxiedClients {
  readonly #trusted: Networks
  /** By the proxy's end of the connection, which is unique while it lives: over TLS the socket is another object. */
  readonly #clients = new Map<string, HostPort>()
  readonly #timeout: number
  readonly #refused: (from: string, why: string) => void

  /**
   * @param from addresses and networks (`10.0.0.0/8`) of proxies
   * @param timeout in milliseconds, for the header
   * @param refused told of connections that were closed for the lack of one
   * @throws SluiceError `ERR_SLUICE_USAGE`
   */
  constructor(from: readonly string[], timeout: number, refused: (from: string, why: string) => void) {
    this.#timeout = timeout
    this.#refused = refused
    this.#trusted = new Networks(from)
  }

  /** Has the header read of each connection from a proxy, before the server sees the connection. */
  guard(server: Server): void {
    const handlers = server.listeners('connection')
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => {
      const go = () => {
        for (const handle of handlers) handle.call(server, socket)
      }
      if (this.#trusted.has(socket.remoteAddress ?? '')) this.#read(socket, go)
      else go()
    })
  }

  /** The client of a connection, where a proxy has told it. */
  clientOf(socket: Socket): HostPort | undefined {
    return this.#clients.get(keyOf(socket))
  }

  #read(socket: Socket, go: () => void): void {
    const parser = new ProxyHeaderParser()
    const refuse = (why: string) => {
      clearTimeout(timer)
      this.#refused(keyOf(socket), why)
      socket.destroy()
    }
    const timer = setTimeout(
      () => refuse(`no header of the PROXY protocol within ${this.#timeout / 1000} s`),
      this.#timeout,
    )
    const onError = () => {}
    const done = (header: ProxyHeader) => {
      clearTimeout(timer)
      socket.off('readable', onReadable)
      socket.off('error', onError)
      if (header.source !== undefined) {
        const key = keyOf(socket)
        this.#clients.set(key, header.source)
        socket.once('close', () => this.#clients.delete(key))
      }
      if (header.rest.length > 0) socket.unshift(Buffer.from(header.rest))
      go()
    }
    const onReadable = () => {
      for (let bytes = socket.read() as Buffer | null; bytes !== null; bytes = socket.read() as Buffer | null) {
        try {
          const header = parser.push(bytes)
          if (header !== undefined) return done(header)
        } catch (error) {
          return refuse(messageOf(error))
        }
      }
    }
    socket.on('error', onError)
    socket.once('close', () => clearTimeout(timer))
    socket.on('readable', onReadable)
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}

/** What a target is told of its client first (PROXY protocol, out). */
export function headerFor(version: 1 | 2, client: HostPort, socket: Socket): Buffer {
  const bytes = (text = '') => parseIPv4(plainAddress(text)) ?? parseIPv6(text) ?? new Uint8Array(4)
  const source = { address: bytes(client.host), port: client.port }
  const destination = { address: bytes(socket.remoteAddress), port: socket.remotePort ?? 0 }
  return Buffer.from(formatProxyHeader(version, { source, destination }))
}
