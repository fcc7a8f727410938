import { fieldValues, type HeaderFields } from '../websocket/index.ts'

/** `Host` or an origin's authority as it is compared: lower case, without a default port. */
function authorityOf(text: string, scheme?: string): string {
  const lower = text.toLowerCase()
  const port = scheme === 'https' || scheme === 'wss' ? /:443$/ : scheme === undefined ? /:(?:80|443)$/ : /:80$/
  return lower.replace(port, '')
}

/**
 * Whether a browser's page may use this server (RFC 6455 §10.2): requests without `Origin` are not a browser's and pass;
 * `null` never does; others must come from this server's own host or be listed.
 *
 * @param allowed origins like `https://app.example`, or `*`
 */
export function originAllowed(fields: HeaderFields, allowed: readonly string[]): boolean {
  const origins = fieldValues(fields, 'origin')
  if (origins.length === 0) return true
  const [origin] = origins
  if (origins.length > 1 || origin === undefined || origin === 'null') return false
  if (allowed.includes('*')) return true
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]+)$/i.exec(origin)
  if (match === null) return false
  if (allowed.some((entry) => entry.toLowerCase() === origin.toLowerCase())) return true
  const host = fieldValues(fields, 'host')
  return (
    host.length === 1 &&
    authorityOf(match[2]!, match[1]!.toLowerCase()) === authorityOf(host[0]!, match[1]!.toLowerCase())
  )
}

/**
 * Whether `Host` names this machine as it should when it is reached over loopback: a page whose name was rebound to
 * 127.0.0.1 still sends its own name.
 *
 * @param allowed further names, as a proxy in front sends them
 */
export function hostAllowed(fields: HeaderFields, allowed: readonly string[]): boolean {
  const values = fieldValues(fields, 'host')
  if (values.length !== 1) return false
  const name = values[0]!.toLowerCase().replace(/:[0-9]+$/, '')
  return (
    ['localhost', '127.0.0.1', '[::1]', ...allowed.map((entry) => entry.toLowerCase())].includes(name) ||
    /^127\.[0-9.]+$/.test(name)
  )
}
