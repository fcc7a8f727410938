import { openHttp } from '../carriers/index.ts'
import type { ServerUrl } from '../config/index.ts'
import { SluiceError, type SluiceErrorCode } from '../errors/index.ts'
import { ClientLink, type ClientLinkEvents, type PathCuts, WAYS, type Way } from '../link/index.ts'
import type { SessionOptions } from '../session/index.ts'
import { Feature, type Parameters, withDefaults } from '../wire/index.ts'
import { SESSION_PROTOCOL, WebSocketCarrier } from './carrier.ts'
import { nodeHost } from './host.ts'
import { NodeHttpClient } from './http.ts'
import { openHttp2 } from './http2.ts'
import { noAnswer, OPEN_TIMEOUT, type OpenOptions, openWebSocket, requestHead } from './open.ts'
import type { PathMemory } from './path-memory.ts'

export interface TunnelClientOptions extends OpenOptions {
  readonly url: ServerUrl
  /** How many WebSockets a session keeps; `auto` (default) opens more while bulk is held up by the line, up to 8. */
  readonly carriers?: number | 'auto'
  /** The kind of carrier; `auto` (default) takes the best that gets through, and changes to a better one when it can. */
  readonly transport?: Way | 'auto'
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
  let cuts: PathCuts | undefined
  return new ClientLink({
    host: nodeHost,
    parameters: PARAMETERS,
    events: {
      ...options.events,
      way: (way, why) => {
        paths?.wentBy(url.authority, way)
        options.events?.way?.(way, why)
      },
      learned: () => {
        options.events?.learned?.()
        paths?.save()
      },
    },
    ...(options.carriers === undefined ? {} : { carriers: options.carriers }),
    ...(options.session === undefined ? {} : { session: options.session }),
    ...(paths === undefined ? {} : { cuts: () => (cuts ??= paths.of(url.authority, undefined)) }),
    ways: options.transport === undefined || options.transport === 'auto' ? waysTo(url) : [options.transport],
    knownWay: paths?.wayTo(url.authority),
    open: async (way, route, abort) => {
      const controller = new AbortController()
      const { signal } = controller
      abort.onAbort(() => controller.abort(new SluiceError('ERR_SLUICE_CLOSED', 'sluice is shutting down')))
      const maxMessage = PARAMETERS.max_message
      if (way === 'http2') return openHttp2(url, route, { ...options, signal, maxMessage })
      if (way !== 'websocket') {
        const limit = options.timeout ?? OPEN_TIMEOUT
        const timer = setTimeout(() => controller.abort(noAnswer(url, limit)), limit)
        try {
          const client = new NodeHttpClient(url, options, await requestHead(url, options))
          return await openHttp(client, { way, route, signal, maxMessage })
        } finally {
          clearTimeout(timer)
        }
      }
      const { carrier, localAddress } = await openSession(url, route, { ...options, signal })
      cuts = paths?.of(url.authority, localAddress)
      return carrier
    },
  })
}

/** The kinds of carriers that there are to a server: HTTP/2 is agreed on within TLS. */
export function waysTo({ secure }: ServerUrl): readonly Way[] {
  return secure ? WAYS : WAYS.filter((way) => way !== 'http2')
}

async function openSession(url: ServerUrl, route: string | undefined, options: OpenOptions) {
  const query = route ? `?route=${encodeURIComponent(route)}` : ''
  const opened = await openWebSocket(url, `${url.prefix}/${query}`, { ...options, protocols: [SESSION_PROTOCOL] })
  const { ws, protocol, localAddress } = opened
  if (protocol === SESSION_PROTOCOL) return { carrier: new WebSocketCarrier(ws), localAddress }
  ws.destroy()
  throw new SluiceError('ERR_SLUICE_REFUSED', 'the server answered the WebSocket handshake, but has no sluice.1', {
    status: 101,
    remedy: 'For a server that is not sluice, give --plain, and --url-template if it wants a path of its own.',
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
