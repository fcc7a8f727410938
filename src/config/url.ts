import { type HostPort, parseHost, parsePort, usage } from './address.ts'

/** Where a sluice server is. */
export interface ServerUrl extends HostPort {
  /** TLS or not. */
  readonly secure: boolean
  /** The path before `/tcp/…`: empty, or starting with a slash and not ending with one. */
  readonly prefix: string
  /** What goes into `Host`: the port only where it is not the scheme's own. */
  readonly authority: string
}

/**
 * Reads `wss://`, `ws://`, `https://`, `http://` or a bare `host[:port][/prefix]`, which means `wss`.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseServerUrl(text: string): ServerUrl {
  const what = `URL ${JSON.stringify(text)}`
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)
  const name = scheme?.[1]?.toLowerCase() ?? 'wss'
  if (!['wss', 'ws', 'https', 'http'].includes(name)) {
    throw usage(
      `${what}: scheme "${name}" is not known`,
      'Use wss://, ws://, https:// or http://, or only host[:port].',
    )
  }
  const rest = text.slice(scheme?.[0].length ?? 0)
  const slash = rest.search(/[/?#]/)
  const authority = slash < 0 ? rest : rest.slice(0, slash)
  const path = slash < 0 ? '' : rest.slice(slash)
  if (authority.includes('@')) {
    throw usage(
      `${what}: credentials do not belong in a URL, where others can read them`,
      'Use --token-file FILE or SLUICE_TOKEN.',
    )
  }
  if (/[?#]/.test(path))
    throw usage(`${what}: a query or fragment has no meaning here`, 'For servers that want one, use --url-template.')
  if (!/^[\x21-\x7e]*$/.test(path)) throw usage(`${what}: the path has a character that must be percent-encoded`)
  const secure = name === 'wss' || name === 'https'
  const { host, port } = parseAuthority(authority, secure, what)
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    secure,
    host,
    port,
    prefix: path.replace(/\/+$/, ''),
    authority: port === (secure ? 443 : 80) ? shown : `${shown}:${port}`,
  }
}

function parseAuthority(authority: string, secure: boolean, what: string): HostPort {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority)
  if (match === null || match[1] === '')
    throw usage(`${what}: there is no host in it`, 'Write it like wss://tunnel.example or localhost:8443.')
  const port = match[2] === undefined ? (secure ? 443 : 80) : parsePort(match[2], what)
  return { host: parseHost(match[1]!, what), port }
}

/** The URL as it is printed. */
export function formatServerUrl(url: ServerUrl): string {
  return `${url.secure ? 'wss' : 'ws'}://${url.authority}${url.prefix}`
}

/**
 * The path that asks a server for a target: `[prefix]/tcp/HOST/PORT`, `[prefix]/tcp/@NAME`, or what a template for a server
 * that is not sluice says, in which `{host}`, `{port}` and `{address}` (host:port) are replaced.
 */
export function targetPath(url: ServerUrl, target: string | HostPort, template?: string): string {
  if (template !== undefined) {
    if (typeof target === 'string') throw usage(`a named target (@${target}) needs a sluice server, not a URL template`)
    const host = target.host.includes(':') ? `[${target.host}]` : target.host
    return `${url.prefix}${template}`
      .replaceAll('{host}', encodeURIComponent(target.host))
      .replaceAll('{port}', String(target.port))
      .replaceAll('{address}', encodeURIComponent(`${host}:${target.port}`).replaceAll('%3A', ':'))
  }
  if (typeof target === 'string') return `${url.prefix}/tcp/@${encodeURIComponent(target)}`
  return `${url.prefix}/tcp/${encodeURIComponent(target.host)}/${target.port}`
}

/**
 * A template's text.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseTemplate(text: string): string {
  if (!/^\/[\x21-\x7e]*$/.test(text))
    throw usage(`URL template ${JSON.stringify(text)} must be a path that starts with "/"`)
  const unknown = /\{(?!(?:host|port|address)\})[^}]*\}?/.exec(text)
  if (unknown !== null) {
    throw usage(`URL template ${JSON.stringify(text)}: ${unknown[0]} is not known`, 'Use {host}, {port} and {address}.')
  }
  return text
}
