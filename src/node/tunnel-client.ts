import type { ServerUrl } from '../config/index.ts'
import { SluiceError, type SluiceErrorCode } from '../errors/index.ts'
import { ClientLink, type ClientLinkEvents, type IdleCuts } from '../link/index.ts'
import type { SessionOptions } from '../session/index.ts'
import { Feature, type Parameters, withDefaults } from '../wire/index.ts'
import { SESSION_PROTOCOL, WebSocketCarrier } from './carrier.ts'
import { nodeHost } from './host.ts'
import { type OpenOptions, openWebSocket } from './open.ts'
import type { PathMemory } from './path-memory.ts'

export interface TunnelClientOptions extends OpenOptions {
  readonly url: ServerUrl
  /** How many WebSockets a session keeps; `auto` (default) opens more while bulk is held up by the line, up to 8. */
  readonly carriers?: number | 'auto'
  /** What is known of paths, from earlier runs too. Default: nothing, and nothing is kept. */
  readonly paths?: PathMemory
  readonly events?: ClientLinkEvents
  readonly session?: Pick<SessionOptions, 'pool' | 'replayBudget' | 'liveness'>
}

/** What both ends say of themselves in HELLO. */
export const PARAMETERS: Parameters = withDefaults({
  max_message: 512 * 1024,
  initial_credit: 64 * 1024,
  max_streams: 8192,
  ack_bytes: 1024 * 1024,
  ack_delay: 25,
  resume_for: 300_000,
  max_carriers: 8,
  max_datagram: 65_535,
  features: (1 << Feature.datagram) | (1 << Feature.listen) | (1 << Feature.unix),
})

/** A server that answers in one of these ways is not asked for a session again: it may know plain mode (design of §2). */
const NO_SESSION = new Set([101, 400, 404, 426])

/** Whether an error says that the server has no sessions, so that plain mode may be tried. */
export function lacksSessions(error: unknown): boolean {
  return error instanceof SluiceError && error.status !== undefined && NO_SESSION.has(error.status)
}

/** A link over WebSockets to a sluice server. */
export function clientLink(options: TunnelClientOptions): ClientLink {
  const { url, paths } = options
  let cuts: IdleCuts | undefined
  return new ClientLink({
    host: nodeHost,
    parameters: PARAMETERS,
    events: {
      ...options.events,
      learned: () => {
        options.events?.learned?.()
        paths?.save()
      },
    },
    ...(options.carriers === undefined ? {} : { carriers: options.carriers }),
    ...(options.session === undefined ? {} : { session: options.session }),
    ...(paths === undefined ? {} : { idleCuts: () => (cuts ??= paths.of(url.authority, undefined)) }),
    open: async (route, signal) => {
      const controller = new AbortController()
      signal.onAbort(() => controller.abort(new SluiceError('ERR_SLUICE_CLOSED', 'sluice is shutting down')))
      const query = route ? `?route=${encodeURIComponent(route)}` : ''
      const { ws, protocol, localAddress } = await openWebSocket(url, `${url.prefix}/${query}`, {
        ...options,
        protocols: [SESSION_PROTOCOL],
        signal: controller.signal,
      })
      cuts = paths?.of(url.authority, localAddress)
      if (protocol === SESSION_PROTOCOL) return new WebSocketCarrier(ws)
      ws.destroy()
      throw new SluiceError('ERR_SLUICE_REFUSED', 'the server answered the WebSocket handshake, but has no sluice.1', {
        status: 101,
        remedy: 'For a server that is not sluice, give --plain, and --url-template if it wants a path of its own.',
      })
    },
  })
}

/** Errors that a second try will not mend. */
export const FINAL_ERRORS: ReadonlySet<SluiceErrorCode> = new Set<SluiceErrorCode>([
  'ERR_SLUICE_AUTH',
  'ERR_SLUICE_TLS',
  'ERR_SLUICE_POLICY',
  'ERR_SLUICE_USAGE',
  'ERR_SLUICE_CONFIG',
])
