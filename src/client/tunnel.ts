import { SluiceError } from '../errors/index.ts'
import type { ClientLink, ClientLinkEvents, Host } from '../link/index.ts'
import { type SocketAddress, type SocketOptions, TunnelSocket } from './socket.ts'

/** What a tunnel tells while it lives. */
export interface TunnelEvents {
  /** The WebSocket was lost; connections wait. */
  onLost?: (why: string) => void
  /** The session goes on over a new WebSocket, this many milliseconds later. */
  onResumed?: (after: number) => void
}

/** A session with a server: any number of TCP connections, over one WebSocket after another. */
export class Tunnel {
  protected readonly link: ClientLink
  readonly #host: Host
  /** Resolves when the session is over: with nothing if it was closed here, or rejects with the reason. */
  readonly closed: Promise<void>

  /** Use `connect` to make one. */
  constructor(link: ClientLink, host: Host, closed: Promise<void>) {
    this.link = link
    this.#host = host
    this.closed = closed
    closed.catch(() => {})
  }

  /** Connects to a target behind the server. The socket can be used at once; it fails by its promises, never by throwing. */
  connect({ hostname, port }: SocketAddress, options: SocketOptions = {}): TunnelSocket {
    if (!Number.isInteger(port) || port < 1 || port > 65_535 || hostname === '') {
      throw new SluiceError(
        'ERR_SLUICE_USAGE',
        `${hostname}:${port} is not an address: a host name and a port from 1 to 65535`,
      )
    }
    const host = hostname.replace(/^\[(.*)\]$/, '$1')
    return new TunnelSocket(this.link, this.#host, { kind: 'TCP', host, port }, `${hostname}:${port}`, options)
  }

  /** Connects to a target that the server's configuration names. */
  connectNamed(name: string, options: SocketOptions = {}): TunnelSocket {
    return new TunnelSocket(this.link, this.#host, { kind: 'NAMED', name }, `@${name}`, options)
  }

  /** If the tunnel waits before it tries to come back, it tries now. */
  retryNow(): void {
    this.link.retryNow()
  }

  /** Ends the session: what was written is delivered first, for at most 2 s; then every connection is over. */
  async close(): Promise<void> {
    await this.link.close()
  }
}

/** What {@link watchLink} makes: the events for a link, and the promise of its end. */
export interface WatchedLink {
  readonly closed: Promise<void>
  readonly events: ClientLinkEvents
}

/** A link's events as a promise of its end, and what the caller wants to hear. */
export function watchLink(heard: TunnelEvents): WatchedLink {
  let end: (error: SluiceError | undefined) => void = () => {}
  const closed = new Promise<void>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve() : reject(error))
  })
  const events: ClientLinkEvents = {
    lost: (why, left) => void (left === 0 && heard.onLost?.(why)),
    resumed: ({ after }) => heard.onResumed?.(after),
    ended: (error) => end(error),
  }
  return { closed, events }
}
