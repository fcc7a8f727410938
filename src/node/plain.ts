import { formatTarget, type HostPort, type ServerUrl, type Target, targetPath } from '../config/index.ts'
import { CREDENTIALS_REMEDY, SluiceError } from '../errors/index.ts'
import { CloseCode } from '../websocket/index.ts'
import { Bridge, type BridgeOutcome } from './bridge.ts'
import type { ByteStream } from './byte-stream.ts'
import { Heartbeat } from './heartbeat.ts'
import { LocalListener, type StreamEndpoint } from './local-listener.ts'
import { type OpenOptions, openWebSocket, probe } from './open.ts'
import type { SocketStream } from './socket.ts'

/** How connections are carried, for all of one server. */
export interface PlainTunnelOptions extends OpenOptions {
  readonly url: ServerUrl
  /** The path of a server that is not sluice, with `{host}`, `{port}`, `{address}`. */
  readonly template?: string | undefined
  readonly halfCloseTimeout?: number
  /** How long the local side may go on sending after the far end is over, in ms; see `BridgeOptions`. */
  readonly lingerTimeout?: number
  readonly heartbeat?: Heartbeat
}

/** What a forward reports; every connection ends in exactly one of `finished` and `failed`. */
export interface ForwardEvents {
  /** A connection came and its WebSocket is open. */
  opened?(target: Target): void
  /** It ended as it should. */
  finished?(target: Target, outcome: BridgeOutcome): void
  /** It could not be carried, or broke. The listener stays. */
  failed(target: Target, error: SluiceError): void
}

const PROTOCOLS = ['binary']

/**
 * The first contact: is the server there, and would it let us in? Nothing is dialled behind it.
 *
 * @throws SluiceError as `openWebSocket`
 */
export async function probeServer(options: PlainTunnelOptions, target: Target): Promise<void> {
  const path = targetPath(options.url, pathTarget(target), options.template)
  const { status } = await probe(options.url, path, options)
  if (status === 401 || status === 407) {
    throw new SluiceError('ERR_SLUICE_AUTH', `the server did not accept the credentials: ${status}`, {
      status,
      remedy: CREDENTIALS_REMEDY,
    })
  }
  // Other servers answer a plain GET as they like; only ours means it.
  if (options.template !== undefined) return
  if (status === 403) {
    throw new SluiceError('ERR_SLUICE_POLICY', `the server does not allow ${formatTarget(target)}: 403`, {
      status,
      remedy: `On the server, allow it: --allow ${formatTarget(target)}`,
    })
  }
  if (status === 404 && 'named' in target) {
    throw new SluiceError('ERR_SLUICE_POLICY', `the server knows no target named ${formatTarget(target)}: 404`, {
      status,
    })
  }
  if (status === 426) return
  throw new SluiceError('ERR_SLUICE_REFUSED', `the server answered ${status} where a WebSocket endpoint was expected`, {
    status,
    remedy: 'Is the path of the URL right? For a server that is not sluice, give --url-template.',
  })
}

function pathTarget(target: Target): string | HostPort {
  return 'named' in target ? target.named : target
}

/** Carries one connection over a WebSocket of its own; resolves when both are over. */
export async function plainConnection(
  local: ByteStream,
  target: Target,
  options: PlainTunnelOptions,
  opened?: (bridge: Bridge) => void,
): Promise<BridgeOutcome> {
  const path = targetPath(options.url, pathTarget(target), options.template)
  const { ws } = await openWebSocket(options.url, path, { ...options, protocols: PROTOCOLS })
  options.heartbeat?.watch(ws)
  const outcome = await new Promise<BridgeOutcome>((done) => {
    const { halfCloseTimeout, lingerTimeout } = options
    const times = {
      ...(halfCloseTimeout === undefined ? {} : { halfCloseTimeout }),
      ...(lingerTimeout === undefined ? {} : { lingerTimeout }),
    }
    const bridge = new Bridge(ws, local, { role: 'client', name: formatTarget(target), ...times, done })
    bridge.start()
    opened?.(bridge)
  })
  options.heartbeat?.forget(ws)
  return outcome
}

/**
 * What a connection's end means: undefined if all went well, or if it was the local program that broke it off, which says
 * so to the target too.
 */
export function failureOf(outcome: BridgeOutcome, target: Target): SluiceError | undefined {
  const { code, reason } = outcome.close
  const name = formatTarget(target)
  if (code === CloseCode.internal) {
    return new SluiceError(
      'ERR_SLUICE_TARGET',
      `the server could not reach ${name} or lost it: ${printable(reason) || 'no reason given'}`,
      { closeCode: code },
    )
  }
  if (code === CloseCode.policy) {
    return new SluiceError(
      'ERR_SLUICE_POLICY',
      `the server does not allow ${name}: ${printable(reason) || 'no reason given'}`,
      { closeCode: code },
    )
  }
  if (outcome.tcpError !== undefined && code === CloseCode.abnormal) return undefined
  if (outcome.error !== undefined) {
    if (outcome.error instanceof SluiceError) return outcome.error
    return new SluiceError('ERR_SLUICE_CLOSED', outcome.error.message, { cause: outcome.error })
  }
  if (code === CloseCode.normal || code === CloseCode.none) return undefined
  return new SluiceError(
    'ERR_SLUICE_CLOSED',
    `the server closed the WebSocket with ${code}: ${printable(reason) || 'no reason given'}`,
    { closeCode: code },
  )
}

/** What a peer sent, safe to print. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}

/** A local listener whose connections go to one target, each over a WebSocket of its own. */
export class PlainForward {
  readonly #target: Target
  readonly #options: PlainTunnelOptions
  readonly #events: ForwardEvents
  readonly #listener: LocalListener
  readonly #live = new Map<ByteStream, Bridge | undefined>()
  readonly #aborted = new AbortController()

  constructor(bind: StreamEndpoint, target: Target, options: PlainTunnelOptions, events: ForwardEvents) {
    this.#target = target
    this.#options = { ...options, heartbeat: options.heartbeat ?? new Heartbeat(), signal: this.#aborted.signal }
    this.#events = events
    this.#listener = new LocalListener(bind, (local) => void this.#carry(local), this.#options.readMode)
  }

  /**
   * Binds the port; resolves with the address in use.
   *
   * @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be bound
   */
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
    this.#aborted.abort(new SluiceError('ERR_SLUICE_CLOSED', 'sluice is shutting down'))
    for (const [local, bridge] of this.#live) {
      if (bridge === undefined) local.reset()
      else bridge.shutDown(CloseCode.goingAway, 'client is shutting down')
    }
  }

  async #carry(local: SocketStream): Promise<void> {
    const target = this.#target
    this.#live.set(local, undefined)
    try {
      const outcome = await plainConnection(local, target, this.#options, (bridge) => {
        this.#live.set(local, bridge)
        this.#events.opened?.(target)
      })
      const failure = failureOf(outcome, target)
      if (failure === undefined) this.#events.finished?.(target, outcome)
      else this.#events.failed(target, failure)
    } catch (error) {
      local.reset()
      this.#events.failed(
        target,
        error instanceof SluiceError ? error : new SluiceError('ERR_SLUICE_CLOSED', String(error), { cause: error }),
      )
    } finally {
      this.#live.delete(local)
    }
  }
}
