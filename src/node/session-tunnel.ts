import type { ServerUrl } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { backoff, type ClientLink } from '../link/index.ts'
import { nodeHost } from './host.ts'
import { Nap } from './nap.ts'
import { clientLink, FINAL_ERRORS, lacksSessions, type TunnelClientOptions } from './tunnel-client.ts'

/** What a tunnel reports beyond what its links do. */
export interface SessionTunnelEvents {
  /** A session is over, and its connections with it; a new one is tried for. */
  gone(error: SluiceError): void
  /** An attempt at a session failed; the next is made after `delay` milliseconds. */
  retrying(error: SluiceError, delay: number): void
  /** There is a new session in place of one that is gone. */
  renewed(): void
  /** This server does not answer, and the next of those that were given is tried. */
  elsewhere?(error: SluiceError, next: ServerUrl): void
  /** Something that no retry will mend: the tunnel is over. */
  failed(error: SluiceError): void
}

/** When a session has been without a carrier for so many milliseconds, and there are other servers, new connections go to those. */
const PATIENCE = 5_000

/**
 * One session after another to the same server, or to the next of several that answers. A session survives its WebSockets; when a session itself is gone (the server
 * was restarted, or was away for too long), its connections are reset and a new one is begun for those to come.
 */
export class SessionTunnel {
  /** The servers, in the order in which they are tried. */
  readonly #servers: readonly TunnelClientOptions[]
  #server = 0
  readonly #events: SessionTunnelEvents
  #link: ClientLink | undefined
  /** Links whose server shuts down, while streams of theirs live. */
  readonly #old = new Set<ClientLink>()
  readonly #waiters: (() => void)[] = []
  readonly #users: ((link: ClientLink) => void)[] = []
  #closed = false
  readonly #nap = new Nap()

  /** @param others further servers, tried in turn where the first does not answer */
  constructor(options: TunnelClientOptions, events: SessionTunnelEvents, others: readonly TunnelClientOptions[] = []) {
    this.#servers = [options, ...others]
    this.#events = events
  }

  /** The server of the session that there is, or was last. */
  get url(): ServerUrl {
    return this.#servers[this.#server]!.url
  }

  /**
   * One attempt at a session, at each of the servers in turn.
   *
   * @throws SluiceError as `ClientLink.connect`; see `lacksSessions`. Of several, the first that may pass, if there is one
   */
  async connect(): Promise<void> {
    const errors: SluiceError[] = []
    for (;;) {
      try {
        return await this.#connect(this.#servers[this.#server]!)
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error
        errors.push(error)
        this.#server = (this.#server + 1) % this.#servers.length
        if (errors.length === this.#servers.length || this.#closed) break
        this.#events.elsewhere?.(error, this.url)
      }
    }
    throw errors.find((error) => !FINAL_ERRORS.has(error.code) && !lacksSessions(error)) ?? errors[0]!
  }

  async #connect(options: TunnelClientOptions): Promise<void> {
    const { events } = options
    let waitingSince: number | undefined
    const link = clientLink({
      ...options,
      events: {
        ...events,
        retrying: (why, delay) => {
          events?.retrying?.(why, delay)
          waitingSince ??= performance.now()
          const patient = performance.now() - waitingSince < PATIENCE
          if (patient || this.#servers.length === 1 || this.#link !== link) return
          this.#server = (this.#server + 1) % this.#servers.length
          this.#events.elsewhere?.(new SluiceError('ERR_SLUICE_UNREACHABLE', why), this.url)
          this.#leave(link)
        },
        resumed: (how) => {
          waitingSince = undefined
          events?.resumed?.(how)
        },
        leaving: () => {
          events?.leaving?.()
          if (this.#link === link) this.#leave(link)
        },
        ended: (error) => {
          events?.ended?.(error)
          this.#old.delete(link)
          if (this.#link === link) this.#ended(error)
        },
      },
    })
    await link.connect()
    if (this.#closed) return link.abort('the client ends')
    this.#link = link
    for (const act of this.#users) act(link)
    for (const act of this.#waiters.splice(0)) act()
  }

  /** The link on which streams can be opened now; undefined while there is none. */
  get link(): ClientLink | undefined {
    return this.#link?.ready ? this.#link : undefined
  }

  /** The links whose streams live: the one for new streams, and those that a server has left. */
  get links(): readonly ClientLink[] {
    return [...(this.#link === undefined ? [] : [this.#link]), ...this.#old]
  }

  /** Has this done with the link that there is, and with each that comes after it. */
  use(act: (link: ClientLink) => void): void {
    this.#users.push(act)
    if (this.#link !== undefined) act(this.#link)
  }

  /** Waits for a link, at most so long. */
  async ready(milliseconds: number): Promise<ClientLink | undefined> {
    if (this.link === undefined && !this.#closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds)
        this.#waiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this.link
  }

  retryNow(): void {
    for (const link of this.links) link.retryNow()
    this.#nap.wake()
  }

  /** Ends in good order, within this time. */
  async close(milliseconds?: number): Promise<void> {
    this.#closed = true
    this.#nap.wake()
    for (const act of this.#waiters.splice(0)) act()
    await Promise.all(this.links.map((link) => link.close(milliseconds)))
  }

  /** The server shuts down, or cannot be reached: streams of this link may finish, new ones go to a new session, which another process may have. */
  #leave(link: ClientLink): void {
    this.#link = undefined
    this.#old.add(link)
    const look = () => {
      if (!this.#old.has(link)) return
      if (link.session?.idle) void link.close()
      else setTimeout(look, 250)
    }
    look()
    if (!this.#closed) void this.#renew()
  }

  #ended(error: SluiceError | undefined): void {
    this.#link = undefined
    if (this.#closed) return
    const reason = error ?? new SluiceError('ERR_SLUICE_GONE', 'the session is over')
    if (FINAL_ERRORS.has(reason.code)) return this.#events.failed(reason)
    this.#events.gone(reason)
    void this.#renew()
  }

  async #renew(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt++) {
      try {
        await this.connect()
        return this.#events.renewed()
      } catch (error) {
        if (this.#closed) return
        if (!(error instanceof SluiceError)) throw error
        if (FINAL_ERRORS.has(error.code) || (lacksSessions(error) && error.status === 101))
          return this.#events.failed(error)
        const delay = backoff(attempt + 1, nodeHost.random())
        this.#events.retrying(error, delay)
        await this.#nap.take(delay)
      }
    }
  }
}
