import { SluiceError } from '../errors/index.ts'

/** A TCP address as it is asked for: a name or an IP address (without brackets), and a port from 0 to 65535. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

const LABEL = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
const NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*\\.?$`)

export function usage(message: string, remedy?: string): SluiceError {
  return new SluiceError('ERR_SLUICE_USAGE', message, remedy === undefined ? {} : { remedy })
}

/** Whether the text can be a host name (RFC 1123 §2.1; the underscore of the field is allowed). */
export function isName(text: string): boolean {
  return text.length <= 253 && NAME.test(text)
}

/** An international name in its ASCII form (`xn--…`, UTS 46); what is ASCII already, and what is no name, as it is. */
export function asciiName(text: string): string {
  // What a URL would take for something else than the host is left alone.
  if (!/[^\x20-\x7e]/.test(text) || /[\s\0-\x1f\x7f/\\:?#@[\]%]/.test(text)) return text
  try {
    return new URL(`http://${text}`).hostname
  } catch {
    return text
  }
}

/** The four bytes of a dotted IPv4 address, or undefined. Octal, hexadecimal and short forms are names here, not addresses. */
export function parseIPv4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const bytes = match.slice(1).map(Number)
  const plain = match.slice(1).every((part) => part === '0' || !part.startsWith('0'))
  return plain && bytes.every((byte) => byte <= 255) ? Uint8Array.from(bytes) : undefined
}

/** The sixteen bytes of an IPv6 address (RFC 4291 §2.2), or undefined. Zone ids are not accepted. */
export function parseIPv6(text: string): Uint8Array | undefined {
  if (!/^[0-9A-Fa-f:.]+$/.test(text)) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const groups = halves.map((half, index) => parseGroups(half, index === halves.length - 1))
  const [head, tail] = groups
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined
  const known = head.length + (tail?.length ?? 0)
  if (halves.length === 1 ? known !== 16 : known > 14) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(head)
  if (tail !== undefined) bytes.set(tail, 16 - tail.length)
  return bytes
}

/** The bytes of the groups on one side of `::`; the last group of all may be a dotted IPv4 address. */
function parseGroups(half: string, last: boolean): number[] | undefined {
  if (half === '') return []
  const bytes: number[] = []
  const groups = half.split(':')
  for (const [index, group] of groups.entries()) {
    const dotted = last && index === groups.length - 1 ? parseIPv4(group) : undefined
    if (dotted !== undefined) {
      bytes.push(...dotted)
    } else if (/^[0-9A-Fa-f]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >>> 8, value & 0xff)
    } else {
      return undefined
    }
  }
  return bytes
}

/** `host:port` as people read it, with brackets around IPv6. */
export function formatHostPort({ host, port }: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * A port number.
 *
 * @param least 0 where the system may choose, otherwise 1
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parsePort(text: string, what: string, least: 0 | 1 = 1): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : -1
  if (port < least || port > 65535) {
    throw usage(`${what}: port ${JSON.stringify(text)} is not a number from ${least} to 65535`)
  }
  return port
}

/**
 * A host: a name, an IPv4 address, or an IPv6 address with or without brackets; returned without them, an international
 * name in its ASCII form.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseHost(text: string, what: string): string {
  const bracketed = /^\[(.*)\]$/.exec(text)?.[1]
  if (bracketed !== undefined) {
    if (parseIPv6(bracketed) !== undefined) return bracketed.toLowerCase()
    throw usage(`${what}: ${JSON.stringify(text)} is not an IPv6 address`)
  }
  if (parseIPv6(text) !== undefined) return text.toLowerCase()
  const name = asciiName(text)
  if (isName(name)) return name
  throw usage(`${what}: ${JSON.stringify(text)} is neither a host name nor an address`)
}

/**
 * `HOST:PORT`, IPv6 in brackets.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseHostPort(text: string, what: string, least: 0 | 1 = 1): HostPort {
  const colon = text.lastIndexOf(':')
  if (colon < 1)
    throw usage(`${what}: ${JSON.stringify(text)} is not HOST:PORT`, 'Write it like db:5432 or [::1]:5432.')
  const host = text.slice(0, colon)
  if (host.includes(':') && !host.startsWith('[')) {
    throw usage(
      `${what}: ${JSON.stringify(text)} has more than one colon`,
      'Put an IPv6 address in brackets: [2001:db8::1]:22.',
    )
  }
  return { host: parseHost(host, what), port: parsePort(text.slice(colon + 1), what, least) }
}
