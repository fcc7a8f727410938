import type { IncomingMessage } from 'node:http'
import { type HostPort, isTargetName, parseHost, parseHostPort, parsePort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import type { HeaderFields } from '../websocket/index.ts'

/** What a request path asks for; undefined is a path of nobody's. */
export type Asked = { readonly target: HostPort } | { readonly named: string } | undefined

/**
 * The header fields of a request in their order, duplicates kept: node's own `headers` merges them. Over HTTP/2 `:authority`
 * is what `Host` is over HTTP/1.1 (RFC 9113 §8.3.1).
 */
export function fieldsOf(request: IncomingMessage): HeaderFields {
  const raw = request.rawHeaders
  const fields: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] === ':authority' ? 'host' : raw[i]!
    if (!name.startsWith(':')) fields.push([name, raw[i + 1]!])
  }
  return fields
}

/**
 * Reads `[prefix]/wisp/HOST:PORT` (the form before Wisp), `[prefix]/tcp/HOST/PORT`, `[prefix]/tcp/@NAME`, `[prefix]/tcp?address=HOST:PORT` and `[prefix]/v1?address=HOST:PORT`.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE` when the path is one of these and what it names is malformed
 */
export function parsePath(url: string, prefix: string): Asked {
  const [path = '', query = ''] = splitOnce(url, '?')
  if (!path.startsWith(`${prefix}/`)) return undefined
  const rest = path.slice(prefix.length + 1)
  const parts = rest.split('/')
  if ((rest === 'tcp' || rest === 'v1') && url.includes('?'))
    return { target: parseHostPort(addressOf(query), 'address') }
  if (parts[0] === 'wisp' && parts.length === 2 && parts[1] !== '') {
    return { target: parseHostPort(decode(parts[1]!), 'target') }
  }
  if (parts[0] !== 'tcp') return undefined
  if (parts.length === 2 && parts[1]!.startsWith('@')) {
    const name = decode(parts[1]!.slice(1))
    if (!isTargetName(name))
      throw new SluiceError('ERR_SLUICE_USAGE', 'the name of the target has a character that is not allowed')
    return { named: name }
  }
  if (parts.length !== 3) return undefined
  return { target: { host: parseHost(decode(parts[1]!), 'host'), port: parsePort(decode(parts[2]!), 'port') } }
}

function addressOf(query: string): string {
  const values = query.split('&').filter((part) => part.startsWith('address='))
  if (values.length !== 1) throw new SluiceError('ERR_SLUICE_USAGE', 'the query must have one address=HOST:PORT')
  return decode(values[0]!.slice('address='.length))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new SluiceError('ERR_SLUICE_USAGE', 'a percent-encoding in the path is malformed', { cause })
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
