import { type Forward, formatServerUrl, plainTarget } from '../config/index.ts'
import { messageOf, SluiceError } from '../errors/index.ts'
import { backoff, type ClientLinkEvents } from '../link/index.ts'
import {
  FINAL_ERRORS,
  lacksSessions,
  Nap,
  PathMemory,
  type PlainTunnelOptions,
  probeServer,
  SessionTunnel,
  type SessionTunnelEvents,
  WAY_NAMES,
} from '../node/index.ts'
import type { ProxyCredentials } from '../proxy/index.ts'
import { Forwards, onPlain, onSessions, plainPair } from './forwards.ts'
import type { ReadClientFlags } from './options.ts'
import type { Report } from './report.ts'
import { clientState, type ProcessState } from './state.ts'
import { pathsFile } from './status-socket.ts'
import { formatBytes } from './units.ts'
import type { ReportFlags } from './world.ts'

/** In milliseconds. */
const FIRST_CONTACT = { first: 250, most: 30_000 }

/** How a server is reached, and what is forwarded through it. */
export interface ClientSettings {
  /** Of all but the forwards: two that have the same are the same client with, perhaps, other forwards. */
  readonly identity: string
  readonly options: ReadClientFlags
  /** Further servers, tried in turn where that one does not answer. */
  readonly fallbacks: readonly ReadClientFlags[]
  readonly forwards: readonly Forward[]
  /** Whether to try again when the first contact fails for a reason that may pass. */
  readonly retry: boolean
  readonly carriers: number | 'auto'
  readonly credentials: ProxyCredentials | undefined
  /** Whether each connection has a WebSocket of its own. */
  readonly plain: boolean
  /** How much is said of it, and how. */
  readonly logs: ReportFlags
}

/** One server, and the forwards through it, from the first contact to the end. */
export class Client {
  readonly #settings: ClientSettings
  readonly #report: Report
  readonly #url: string
  readonly #paths = new PathMemory(pathsFile())
  readonly #end: () => void
  /** Resolves when it is to end. */
  readonly #ending: Promise<void>
  #over = false
  #wanted: readonly Forward[]
  #forwards: Forwards | undefined
  #tunnel: SessionTunnel | undefined
  readonly #nap = new Nap()

  constructor(settings: ClientSettings, report: Report) {
    this.#settings = settings
    this.#report = report
    this.#wanted = settings.forwards
    this.#url = formatServerUrl(settings.options.url)
    let end = () => {}
    this.#ending = new Promise((resolve) => (end = resolve))
    this.#end = end
  }

  get identity(): string {
    return this.#settings.identity
  }

  get url(): string {
    return this.#url
  }

  /**
   * Runs until {@link end}.
   *
   * @param force resolves when the end must not wait for the server any more
   * @throws SluiceError of what no retry will mend
   */
  async run(force: Promise<unknown>): Promise<void> {
    if (this.#settings.plain) await this.#runPlain()
    else await this.#runSession(force)
  }

  end(): void {
    this.#over = true
    this.#nap.wake()
    this.#end()
  }

  /** What waits for its time tries now. */
  retryNow(): void {
    this.#nap.wake()
    this.#tunnel?.retryNow()
  }

  /** From now on these are its forwards. */
  replace(forwards: readonly Forward[]): { readonly begun: number; readonly ended: number } {
    this.#wanted = forwards
    return this.#forwards?.replace(forwards) ?? { begun: 0, ended: 0 }
  }

  get state(): ProcessState {
    const url = this.#tunnel === undefined ? this.#url : formatServerUrl(this.#tunnel.url)
    return clientState(url, this.#tunnel, this.#forwards?.states() ?? [], this.#paths.known)
  }

  async #runPlain(): Promise<void> {
    const { options } = this.#settings
    const pairs = this.#wanted.map(plainPair)
    await this.#firstContact(async () => {
      for (const { target } of pairs) await probeServer(options, target)
    })
    if (this.#over) return
    this.#forwards = new Forwards(onPlain(options, this.#report), this.#report)
    await this.#forwards.start(this.#wanted)
    await this.#ending
    this.#forwards.close()
  }

  async #runSession(force: Promise<unknown>): Promise<void> {
    const { options, fallbacks, carriers, credentials } = this.#settings
    const report = this.#report
    let fail: (error: SluiceError) => void = () => {}
    const failed = new Promise<SluiceError>((resolve) => (fail = resolve))
    const settled = (of: ReadClientFlags) => ({ ...of, carriers, paths: this.#paths, events: linkEvents(report) })
    const tunnel = new SessionTunnel(
      settled(options),
      tunnelEvents(report, (error) => fail(error)),
      fallbacks.map(settled),
    )
    try {
      await this.#firstContact(() => tunnel.connect())
    } catch (error) {
      if (!lacksSessions(error) || fallbacks.length > 0) throw error
      report.say(`the server has no sessions (${messageOf(error)}): each connection gets a WebSocket of its own`)
      return this.#runPlain()
    }
    this.#tunnel = tunnel
    try {
      if (!this.#over) await Promise.race([askPolicy(this.#wanted, { ...options, url: tunnel.url }), this.#ending])
      if (this.#over) return
      this.#forwards = new Forwards(onSessions(tunnel, this.#url, report, credentials), report)
      await this.#forwards.start(this.#wanted)
      const failure = await Promise.race([this.#ending, failed])
      if (failure !== undefined) throw failure
    } finally {
      this.#forwards?.close()
      await Promise.race([tunnel.close(), force])
    }
  }

  /** Tries until the way is open, or something fails that will not mend itself. */
  async #firstContact(contact: () => Promise<void>): Promise<void> {
    for (let attempt = 0; !this.#over; attempt++) {
      try {
        await contact()
        return this.#report.detail(`${this.#url} is there and lets us in`)
      } catch (error) {
        if (this.#over) return
        const final = error instanceof SluiceError && (FINAL_ERRORS.has(error.code) || lacksSessions(error))
        if (!this.#settings.retry || !(error instanceof SluiceError) || final) throw error
        const delay = backoff(attempt + 1, Math.random(), FIRST_CONTACT)
        this.#report.say(`${messageOf(error)}; trying again in ${(delay / 1000).toFixed(1)} s`)
        await this.#nap.take(delay)
      }
    }
  }
}

/** Whether the server would let us to these targets, as far as it can tell without resolving names: better known now than at the first use. */
async function askPolicy(forwards: readonly Forward[], options: PlainTunnelOptions): Promise<void> {
  for (const { direction, listen, target: asked } of forwards) {
    const target = direction === 'local' && listen.kind !== 'udp' ? plainTarget(asked) : undefined
    if (target === undefined) continue
    try {
      await probeServer(options, target)
    } catch (error) {
      if (error instanceof SluiceError && error.code === 'ERR_SLUICE_POLICY') throw error
      // Whatever else is said of plain mode does not matter to a session.
    }
  }
}

function tunnelEvents(report: Report, fail: (error: SluiceError) => void): SessionTunnelEvents {
  return {
    gone: (error) => report.say(`${messageOf(error)}; its connections are reset, and a new session is begun`),
    retrying: (error, delay) => report.say(`${messageOf(error)}; trying again in ${(delay / 1000).toFixed(1)} s`),
    elsewhere: (error, next) => report.say(`${messageOf(error)}; trying ${formatServerUrl(next)}`),
    renewed: () => report.say('a new session is there'),
    failed: fail,
  }
}

function linkEvents(report: Report): ClientLinkEvents {
  return {
    lost: (why, left) =>
      left > 0
        ? report.detail(`lost a WebSocket (${why}), ${left} left`)
        : report.say(`connection lost (${why}): coming back`),
    retrying: (why, delay) => report.say(`${why}; trying again in ${(delay / 1000).toFixed(1)} s`),
    resumed: ({ after, resent, streams }) =>
      report.say(
        `resumed after ${(after / 1000).toFixed(1)} s, ${formatBytes(resent)} sent again, ${streams} stream${streams === 1 ? '' : 's'} kept`,
      ),
    carriers: (count) => report.detail(`WebSockets of the session: ${count}`),
    way: (way, why) =>
      report.say(
        `${why === undefined ? '' : `WebSocket does not get through (${why}): `}the session goes ${WAY_NAMES[way]}`,
      ),
    leaving: () => report.say('the server shuts down: its connections may finish, new ones go to a new session'),
  }
}
