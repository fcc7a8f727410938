import { type Forward, type ForwardTarget, formatEndpoint } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { ClientLink } from '../link/index.ts'
import type { ProxyCredentials } from '../proxy/index.ts'
import type { Target as WireTarget } from '../wire/index.ts'
import type { ReadMode } from './adopt.ts'
import { LocalListener, type StreamEndpoint } from './local-listener.ts'
import { negotiate, proxyFailure } from './proxy-door.ts'
import type { SessionTunnel } from './session-tunnel.ts'
import type { SocketStream } from './socket.ts'
import { Splice, type SpliceOutcome } from './splice.ts'
import { spliceFailure } from './splice-failure.ts'

/** A connection that comes while there is no session waits so long for one, in milliseconds. */
const PATIENCE = 10_000

/** What a forward reports, by the name of each target; every connection ends in exactly one of `finished` and `failed`. */
export interface SessionForwardEvents {
  opened?(target: string): void
  finished?(target: string, outcome: SpliceOutcome): void
  failed(target: string, error: SluiceError): void
}

export interface SessionForwardOptions {
  readonly readMode?: ReadMode | undefined
  /** What programs must know to use a dynamic forward. */
  readonly credentials?: ProxyCredentials | undefined
}

/** A target as OPEN says it. */
export function wireTarget(target: Exclude<ForwardTarget, { kind: 'dynamic' }>): WireTarget {
  switch (target.kind) {
    case 'named':
      return { kind: 'NAMED', name: target.name }
    case 'unix':
      return { kind: 'UNIX', path: target.path }
    default:
      return { kind: target.kind === 'tcp' ? 'TCP' : 'UDP', host: target.host, port: target.port }
  }
}

/** A local listener whose connections go to one target, or to what each asks for by SOCKS or HTTP, as streams of the session. */
export class SessionForward {
  readonly #forward: Forward
  readonly #tunnel: SessionTunnel
  readonly #events: SessionForwardEvents
  readonly #listener: LocalListener
  readonly #options: SessionForwardOptions
  readonly #live = new Set<{ abort(): void }>()

  constructor(
    forward: Forward & { readonly listen: StreamEndpoint },
    tunnel: SessionTunnel,
    events: SessionForwardEvents,
    options: SessionForwardOptions = {},
  ) {
    this.#forward = forward
    this.#tunnel = tunnel
    this.#events = events
    this.#options = options
    // A turn of the loop later what the program sent at once has been read, and travels with OPEN.
    const act = (local: SocketStream) => setImmediate(() => void this.#accepted(local))
    this.#listener = new LocalListener(forward.listen, act, options.readMode)
  }

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound */
  listen(): Promise<StreamEndpoint> {
    return this.#listener.listen()
  }

  /** How many connections are being carried. */
  get connections(): number {
    return this.#live.size
  }

  /** Frees the port; connections go on. */
  retire(): void {
    this.#listener.close()
  }

  /** Frees the port and ends every connection. */
  close(): void {
    this.retire()
    for (const one of this.#live) one.abort()
  }

  async #accepted(local: SocketStream): Promise<void> {
    const { target } = this.#forward
    const link = this.#tunnel.link ?? (await this.#tunnel.ready(PATIENCE))
    if (link === undefined) {
      local.reset()
      const error = new SluiceError('ERR_SLUICE_GONE', 'there is no session with the server at present')
      this.#events.failed(formatEndpoint(target), error)
    } else if (target.kind === 'dynamic') this.#dynamic(local, link)
    else this.#carry(local, link, wireTarget(target), formatEndpoint(target))
  }

  #dynamic(local: SocketStream, link: ClientLink): void {
    const door = negotiate(local, link, this.#options.credentials, (result) => {
      this.#live.delete(door)
      if ('error' in result) return this.#events.failed('socks', new SluiceError('ERR_SLUICE_USAGE', result.error))
      if ('over' in result) return
      const { handshake, request } = result
      const name = formatEndpoint({ kind: 'tcp', host: request.host, port: request.port })
      const splice = this.#make(local, link, name)
      splice.greeting = {
        accepted: (address) => handshake.accepted(splitAddress(address)),
        failed: (code) => handshake.failed(proxyFailure(code)),
      }
      const stream = link.open({ kind: 'TCP', host: request.host, port: request.port }, splice)
      if (request.first.length > 0) stream.write(request.first)
      splice.start(stream)
    })
    this.#live.add(door)
  }

  #carry(local: SocketStream, link: ClientLink, target: WireTarget, name: string): void {
    const splice = this.#make(local, link, name)
    splice.start(link.open(target, splice))
  }

  #make(local: SocketStream, link: ClientLink, name: string): Splice {
    const splice = new Splice(local, link, (outcome) => {
      this.#live.delete(splice)
      const failure = spliceFailure(outcome, name)
      if (failure === undefined) this.#events.finished?.(name, outcome)
      else this.#events.failed(name, failure)
    })
    this.#live.add(splice)
    splice.onOpened = () => this.#events.opened?.(name)
    return splice
  }
}

/** `host:port` as the server says it, cut apart. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, Math.max(0, colon)), port: Number(address.slice(colon + 1)) || 0 }
}
