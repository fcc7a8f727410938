import {
  type Forward,
  formatEndpoint,
  formatForward,
  formatServerUrl,
  formatTarget,
  plainTarget,
  type Target,
} from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ClientLink } from '../link/index.ts'
import {
  PlainForward,
  type PlainTunnelOptions,
  ReverseForward,
  SessionForward,
  type SessionForwardEvents,
  type SessionTunnel,
  type StreamEndpoint,
  UdpForward,
} from '../node/index.ts'
import type { ProxyCredentials } from '../proxy/index.ts'
import { OpenError } from '../wire/index.ts'
import type { Report } from './report.ts'
import type { ForwardState } from './state.ts'

/** A forward that runs. */
interface Started {
  readonly connections: number
  /** Where it listens. */
  readonly listen: string
  /** Frees its port; connections go on. */
  retire(): void
  close(): void
}

/** Starts one forward; resolves once it listens. */
type Start = (forward: Forward) => Promise<Started>

/** The forwards of one server that run; which they are may change. */
export class Forwards {
  readonly #start: Start
  readonly #report: Report
  readonly #running = new Map<string, { readonly forward: Forward; started: Started | undefined }>()
  /** Those that listen no more, and may have connections. */
  readonly #retired = new Set<Started>()

  constructor(start: Start, report: Report) {
    this.#start = start
    this.#report = report
  }

  /** Starts these; none is left running if one cannot be. */
  async start(forwards: readonly Forward[]): Promise<void> {
    try {
      for (const [key, forward] of byKey(forwards)) await this.#launch(key, forward)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /**
   * From now on these are the forwards: others listen no more, and their connections go on. One that cannot be started is told.
   *
   * @returns how many are begun and ended
   */
  replace(forwards: readonly Forward[]): { readonly begun: number; readonly ended: number } {
    const wanted = byKey(forwards)
    const ended = [...this.#running.keys()].filter((key) => !wanted.has(key))
    for (const key of ended) {
      const { started } = this.#running.get(key)!
      this.#running.delete(key)
      if (started !== undefined) this.#retire(started)
    }
    const begun = [...wanted].filter(([key]) => !this.#running.has(key))
    for (const [key, forward] of begun) {
      this.#launch(key, forward).catch((error: unknown) => this.#report.problem(error))
    }
    return { begun: begun.length, ended: ended.length }
  }

  async #launch(key: string, forward: Forward): Promise<void> {
    const entry = { forward, started: undefined as Started | undefined }
    this.#running.set(key, entry)
    try {
      entry.started = await this.#start(forward)
    } catch (error) {
      if (this.#running.get(key) === entry) this.#running.delete(key)
      throw error
    }
    // It may not be wanted any more.
    if (this.#running.get(key) !== entry) this.#retire(entry.started)
  }

  #retire(started: Started): void {
    started.retire()
    this.#retired.add(started)
    for (const one of this.#retired) if (one.connections === 0) this.#retired.delete(one)
  }

  states(): ForwardState[] {
    return [...this.#running.values()].map(({ forward, started }) => ({
      listen: `${forward.direction === 'local' ? '' : 'server '}${started?.listen ?? 'waiting'}`,
      target: formatEndpoint(forward.target),
      connections: started?.connections ?? 0,
    }))
  }

  close(): void {
    for (const { started } of this.#running.values()) started?.close()
    for (const started of this.#retired) started.close()
    this.#running.clear()
    this.#retired.clear()
  }
}

/** Forwards by what they are; the same one twice is two. */
function byKey(forwards: readonly Forward[]): Map<string, Forward> {
  const keyed = new Map<string, Forward>()
  for (const forward of forwards) {
    const name = `${forward.direction} ${formatForward(forward)}`
    let key = name
    for (let copy = 2; keyed.has(key); copy++) key = `${name} (${copy})`
    keyed.set(key, forward)
  }
  return keyed
}

/** Starts forwards on the sessions of a tunnel. */
export function onSessions(
  tunnel: SessionTunnel,
  url: string,
  report: Report,
  credentials: ProxyCredentials | undefined,
): Start {
  const events = forwardEvents(report)
  const reverses = new Set<ReverseForward>()
  tunnel.use((link) => {
    link.onOpened = (stream) => {
      const reverse = [...reverses].find((candidate) => candidate.owns(link, stream))
      if (reverse === undefined) stream.refuse(OpenError.NOT_ALLOWED, 'there is no such listener')
      else reverse.accept(link, stream)
    }
  })
  return async (forward) => {
    if (forward.direction === 'reverse') return startReverse(forward, tunnel, report, reverses)
    const local =
      forward.listen.kind === 'udp'
        ? new UdpForward(forward, tunnel, events)
        : new SessionForward(forward as Forward & { listen: StreamEndpoint }, tunnel, events, { credentials })
    const bound = formatEndpoint(await local.listen())
    const what = forward.target.kind === 'dynamic' ? 'SOCKS and HTTP proxy' : formatEndpoint(forward.target)
    report.say(`listening on ${bound} for ${what} through ${url}`)
    return started(local, () => bound)
  }
}

function started(
  running: { readonly connections: number; retire(): void; close(): void },
  listen: () => string,
): Started {
  return {
    get connections() {
      return running.connections
    },
    get listen() {
      return listen()
    },
    retire: () => running.retire(),
    close: () => running.close(),
  }
}

/** Resolves once the server listens; a server that does not at the start ends it all, later it is only told. */
function startReverse(
  forward: Forward,
  tunnel: SessionTunnel,
  report: Report,
  reverses: Set<ReverseForward>,
): Promise<Started> {
  return new Promise((resolve, reject) => {
    let begun = false
    const target = forward.target.kind === 'dynamic' ? 'SOCKS and HTTP proxy from here' : formatEndpoint(forward.target)
    const stop = (how: 'retire' | 'close') => {
      reverses.delete(reverse)
      reverse[how]()
    }
    const running: Started = {
      get connections() {
        return reverse.connections
      },
      get listen() {
        return reverse.address ?? 'waiting'
      },
      retire: () => stop('retire'),
      close: () => stop('close'),
    }
    const reverse = new ReverseForward(forward, {
      ...forwardEvents(report),
      listening: (address) => {
        report.say(`the server listens on ${address} for ${target}`)
        begun = true
        resolve(running)
      },
      refused: (error) => {
        if (begun) return report.problem(error)
        running.close()
        reject(error)
      },
    })
    reverses.add(reverse)
    tunnel.use((link: ClientLink) => reverse.attach(link))
  })
}

/** What plain mode can carry of a forward. @throws SluiceError `ERR_SLUICE_USAGE` */
export function plainPair({ direction, listen, target: asked }: Forward): { bind: StreamEndpoint; target: Target } {
  const target = plainTarget(asked)
  if (direction === 'local' && listen.kind !== 'udp' && target !== undefined) return { bind: listen, target }
  throw new SluiceError('ERR_SLUICE_USAGE', 'plain mode carries -L to TCP targets and names only', {
    remedy: 'For -R, -D, UDP and unix sockets the server must be sluice, and --plain must not be given.',
  })
}

/** Starts forwards whose connections have a WebSocket each. */
export function onPlain(options: PlainTunnelOptions, report: Report): Start {
  const { opened, failed } = forwardEvents(report)
  const events = {
    opened: (target: Target) => opened(formatTarget(target)),
    failed: (target: Target, error: SluiceError) => failed(formatTarget(target), error),
    finished: (target: Target, { bytesUp, bytesDown }: { bytesUp: number; bytesDown: number }) =>
      report.detail(ended(formatTarget(target), bytesUp, bytesDown)),
  }
  return async (forward) => {
    const { bind, target } = plainPair(forward)
    const plain = new PlainForward(bind, target, options, events)
    const bound = formatEndpoint(await plain.listen())
    report.say(`listening on ${bound} for ${formatTarget(target)} through ${formatServerUrl(options.url)}`)
    return started(plain, () => bound)
  }
}

function forwardEvents(report: Report): Required<SessionForwardEvents> {
  return {
    opened: (target) => report.detail(`${target}: opened`),
    finished: (target, { sent, received }) => report.detail(ended(target, sent, received)),
    failed: (target, { code, message, remedy }) =>
      report.problem(
        new SluiceError(code, `connection to ${target}: ${message}`, remedy === undefined ? {} : { remedy }),
      ),
  }
}

function ended(target: string, up: number, down: number): string {
  return `${target}: ended, ${up} bytes up, ${down} down`
}
