import { formatHostPort, type HostPort, parseHost, parsePort, usage } from './address.ts'

/** A proxy on the way to the server. */
export interface ProxyUrl extends HostPort {
  readonly kind: 'http' | 'socks5' | 'pac'
  /** Of a PAC file: its URL. Then host and port are those of the file's server, if there is one. */
  readonly place?: string
  /** Whether the proxy itself is reached over TLS. */
  readonly secure: boolean
  readonly credentials: ProxyLogin | undefined
  /** A command that says who we are where the proxy wants more than a password (docs/proxies.md). */
  readonly authCommand?: string
}

export interface ProxyLogin {
  readonly user: string
  readonly password: string
}

const SCHEMES: Readonly<Record<string, Pick<ProxyUrl, 'kind' | 'secure' | 'port'>>> = {
  http: { kind: 'http', secure: false, port: 80 },
  https: { kind: 'http', secure: true, port: 443 },
  socks5: { kind: 'socks5', secure: false, port: 1080 },
  socks5h: { kind: 'socks5', secure: false, port: 1080 },
}

/**
 * Reads `http://`, `https://`, `socks5://`, `socks5h://` or a bare `host[:port]`, which means `http`; or, with `pac+` before it, the
 * `http://`, `https://` or `file://` URL of a file that says which. Names of servers are always resolved by the proxy.
 *
 * @param what names it in errors, which never show the text: a password may stand in it
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseProxyUrl(text: string, what: string): ProxyUrl {
  if (/^pac\+/i.test(text)) return parsePac(text.slice(4), what)
  const match = /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(?:([^@/]*)@)?([^@/]+)\/?$/.exec(text)
  if (match === null)
    throw usage(`${what} is not a proxy`, 'Write it like http://proxy.example:3128 or socks5://proxy.example.')
  const [, scheme = 'http', login, authority = ''] = match
  const known = SCHEMES[scheme.toLowerCase()]
  if (known === undefined)
    throw usage(`${what}: scheme "${scheme}" is not known`, 'Use http://, https:// or socks5://.')
  const place = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority)
  if (place === null || place[1] === '') throw usage(`${what}: there is no host in it`)
  return {
    ...known,
    host: parseHost(place[1]!, what),
    port: place[2] === undefined ? known.port : parsePort(place[2], what),
    credentials: login === undefined ? undefined : parseUrlLogin(login, what),
  }
}

function parsePac(place: string, what: string): ProxyUrl {
  const file = { kind: 'pac', place, host: 'localhost', port: 0, secure: false, credentials: undefined } as const
  if (/^file:\/\/\/./i.test(place)) return file
  const [, scheme, authority] = /^(https?):\/\/([^/?#@]+)(?:[/?#].*)?$/i.exec(place) ?? []
  const known = SCHEMES[(scheme ?? '').toLowerCase()]
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority ?? '') ?? []
  if (known === undefined || host === undefined) {
    throw usage(`${what}: a PAC file is at http://, https:// or file:///, without user and password`)
  }
  const number = port === undefined ? known.port : parsePort(port, what)
  return { ...file, host: parseHost(host, what), port: number, secure: known.secure }
}

function parseUrlLogin(text: string, what: string): ProxyLogin {
  const colon = text.indexOf(':')
  const parts = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  const [user = '', password = ''] = parts.map((part) => percentDecoded(part, what))
  return { user, password }
}

function percentDecoded(text: string, what: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw usage(`${what}: the user and password are not percent-encoded`)
  }
  if (/[\x00-\x1f\x7f]/.test(decoded)) throw usage(`${what}: the user or password has a control character`)
  return decoded
}

/** `USER:PASSWORD`, as it stands in a file; undefined if it is not that. */
export function parseLogin(text: string): ProxyLogin | undefined {
  const colon = text.indexOf(':')
  if (colon <= 0 || colon === text.length - 1) return undefined
  return { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** The proxy without its password. */
export function formatProxyUrl(proxy: ProxyUrl): string {
  if (proxy.kind === 'pac') return `pac+${proxy.place}`
  return `${proxy.kind === 'socks5' ? 'socks5' : proxy.secure ? 'https' : 'http'}://${formatHostPort(proxy)}`
}

const LOOPBACK = /^(?:localhost|.*\.localhost|127\..*|::1)$/i

/**
 * The proxy that the environment asks for, as other programs read it: `https_proxy` or `http_proxy` by the server's scheme, then
 * `all_proxy`, in lower or upper case, unless `no_proxy` names the server. Loopback is never asked for through a proxy.
 *
 * @returns the variable's name and text; undefined if there is none
 */
export function environmentProxy(
  server: HostPort & { readonly secure: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): { readonly name: string; readonly text: string } | undefined {
  const find = (...names: string[]) => {
    for (const name of names.flatMap((one) => [one, one.toUpperCase()])) {
      const text = environment[name]
      if (text !== undefined && text !== '') return { name, text }
    }
    return undefined
  }
  if (LOOPBACK.test(server.host) || excluded(server, find('no_proxy')?.text ?? '')) return undefined
  return find(server.secure ? 'https_proxy' : 'http_proxy', 'all_proxy')
}

/** Whether `no_proxy` names a server: `*`, a name with all below it, or an address; each with a port or without. */
function excluded({ host, port }: HostPort, list: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true
    const match = /^\*?\.?(\[[^\]]+\]|[^:]+|[0-9A-Fa-f:]+)(?::(\d+))?$/.exec(entry.toLowerCase())
    if (match === null || (match[2] !== undefined && Number(match[2]) !== port)) return false
    const suffix = match[1]!.replace(/^\[|\]$/g, '')
    return name === suffix || name.endsWith(`.${suffix}`)
  })
}
