import {
  FetchClient,
  type HttpWay,
  openHttp,
  W3cWebSocketCarrier,
  type WebSocketLike,
  webHost,
} from '../carriers/index.ts'
import { SluiceError } from '../errors/index.ts'
import { type AbortSignalLike, type Carrier, ClientLink } from '../link/index.ts'
import { Feature, withDefaults } from '../wire/index.ts'
import { Tunnel, type TunnelEvents, watchLink } from './tunnel.ts'

export interface ConnectOptions extends TunnelEvents {
  /**
   * Sent as the subprotocol `authorization.bearer.…`, since browsers cannot set headers. A function is asked each time that one
   * is needed: for tickets, of which each is good once, and for tokens that expire.
   */
  readonly token?: string | (() => string | Promise<string>)
  /** Milliseconds for the WebSocket to open. Default 10 s. */
  readonly timeout?: number
  /** Another implementation of the W3C API. Default: the host's own. */
  readonly WebSocket?: new (
    url: string,
    protocols: string[],
  ) => WebSocketLike
}

const TIMEOUT = 10_000
const PROTOCOL = 'sluice.1'
const PARAMETERS = withDefaults({
  max_message: 512 * 1024,
  ack_bytes: 256 * 1024,
  max_streams: 256,
  resume_for: 300_000,
  max_carriers: 8,
  max_datagram: 65_535,
  features: (1 << Feature.datagram) | (1 << Feature.listen) | (1 << Feature.unix),
})

/**
 * Opens a session with a sluice server, over the host's own WebSocket. The tunnel can be used at once.
 *
 * @param url `wss://host[/prefix]`, or `https://`; `ws://` and `http://` without TLS
 * @throws SluiceError `ERR_SLUICE_USAGE` for a URL that cannot be read, `ERR_SLUICE_UNREACHABLE` when the WebSocket does not
 * open: the API does not say why
 *
 * @example
 * import { connect } from 'sluice'
 * const tunnel = await connect('wss://tunnel.example', { token })
 * const socket = tunnel.connect({ hostname: 'db', port: 5432 })
 */
export async function connect(url: string | URL, options: ConnectOptions = {}): Promise<Tunnel> {
  const base = sessionUrl(url)
  const { closed, events } = watchLink(options)
  const link = new ClientLink({
    host: webHost,
    parameters: PARAMETERS,
    events,
    ways: ['websocket', 'stream', 'poll', 'turns'],
    open: async (way, route, signal) =>
      way === 'websocket'
        ? openCarrier(route ? `${base}?route=${route}` : base, await tokenOf(options), options, signal)
        : openOverHttp(base, way as HttpWay, route, options, signal),
  })
  const tunnel = new Tunnel(link, webHost, closed)
  await link.connect()
  return tunnel
}

function sessionUrl(url: string | URL): string {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_USAGE', `${String(url)} is not a URL`, { cause })
  }
  const scheme = { 'wss:': 'wss:', 'https:': 'wss:', 'ws:': 'ws:', 'http:': 'ws:' }[parsed.protocol]
  if (scheme === undefined || parsed.username !== '' || parsed.password !== '' || parsed.search !== '') {
    throw new SluiceError('ERR_SLUICE_USAGE', `${parsed.href} is not a wss: or ws: URL without credentials and query`)
  }
  return `${scheme}//${parsed.host}${parsed.pathname.replace(/\/*$/, '/')}`
}

/** Where no WebSocket gets through: the same over requests of `fetch` (spec/http-1.md). */
function openOverHttp(
  base: string,
  way: HttpWay,
  route: string | undefined,
  { token, timeout = TIMEOUT }: ConnectOptions,
  abort: AbortSignalLike,
): Promise<Carrier> {
  const controller = new AbortController()
  abort.onAbort(() => controller.abort())
  const timer = setTimeout(() => controller.abort(), timeout)
  const client = new FetchClient(`${base.replace(/^ws/, 'http')}http`, token)
  const opened = openHttp(client, { way, route, signal: controller.signal, maxMessage: PARAMETERS.max_message })
  return opened.finally(() => clearTimeout(timer))
}

function tokenOf({ token }: ConnectOptions): string | undefined | Promise<string> {
  return typeof token === 'function' ? token() : token
}

function openCarrier(
  url: string,
  token: string | undefined,
  options: ConnectOptions,
  signal: AbortSignalLike,
): Promise<Carrier> {
  const Implementation = options.WebSocket ?? globalThis.WebSocket
  if (Implementation === undefined) {
    throw new SluiceError('ERR_SLUICE_CONFIG', 'this host has no WebSocket', {
      remedy: 'On Node before 22, import from sluice/node.',
    })
  }
  const bearer = token === undefined ? [] : [`authorization.bearer.${token}`]
  const timeout = options.timeout ?? TIMEOUT
  return new Promise((resolve, reject) => {
    const ws = new Implementation(url, [PROTOCOL, ...bearer])
    const fail = (message: string) => {
      clearTimeout(timer)
      ws.onclose = ws.onopen = null
      ws.close()
      reject(new SluiceError('ERR_SLUICE_UNREACHABLE', message))
    }
    const timer = setTimeout(() => fail(`${url} does not answer within ${timeout / 1000} s`), timeout)
    signal.onAbort(() => fail('the tunnel was closed'))
    ws.onerror = () => {}
    ws.onclose = () => fail(`the WebSocket to ${url} did not open: is the address right, and are the credentials?`)
    ws.onopen = () => {
      if (ws.protocol !== PROTOCOL) return fail(`${url} has no sluice.1`)
      clearTimeout(timer)
      resolve(new W3cWebSocketCarrier(ws))
    }
  })
}
