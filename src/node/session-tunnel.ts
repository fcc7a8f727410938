import { SluiceError } from '../errors/index.ts'
import { backoff, type ClientLink } from '../link/index.ts'
import { nodeHost } from './host.ts'
import { clientLink, FINAL_ERRORS, lacksSessions, type TunnelClientOptions } from './tunnel-client.ts'

/** What a tunnel reports beyond what its links do. */
export interface SessionTunnelEvents {
  /** A session is over, and its connections with it; a new one is tried for. */
  gone(error: SluiceError): void
  /** An attempt at a session failed; the next is made after `delay` milliseconds. */
  retrying(error: SluiceError, delay: number): void
  /** There is a new session in place of one that is gone. */
  renewed(): void
  /** Something that no retry will mend: the tunnel is over. */
  failed(error: SluiceError): void
}

/**
 * One session after another to the same server. A session survives its WebSockets; when a session itself is gone (the server
 * was restarted, or was away for too long), its connections are reset and a new one is begun for those to come.
 */
export class SessionTunnel {
  readonly #options: TunnelClientOptions
  readonly #events: SessionTunnelEvents
  #link: ClientLink | undefined
  #closed = false
  #wake: () => void = () => {}

  constructor(options: TunnelClientOptions, events: SessionTunnelEvents) {
    this.#options = options
    this.#events = events
  }

  /**
   * One attempt at a session.
   *
   * @throws SluiceError as `ClientLink.connect`; see `lacksSessions`
   */
  async connect(): Promise<void> {
    const link = clientLink({
      ...this.#options,
      events: {
        ...this.#options.events,
        ended: (error) => {
          this.#options.events?.ended?.(error)
          if (this.#link === link) this.#ended(error)
        },
      },
    })
    await link.connect()
    this.#link = link
  }

  /** The link on which streams can be opened now; undefined while there is none. */
  get link(): ClientLink | undefined {
    return this.#link?.ready ? this.#link : undefined
  }

  retryNow(): void {
    this.#link?.retryNow()
    this.#wake()
  }

  /** Ends in good order, within this time. */
  async close(milliseconds?: number): Promise<void> {
    this.#closed = true
    this.#wake()
    await this.#link?.close(milliseconds)
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
        await this.#pause(delay)
      }
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
