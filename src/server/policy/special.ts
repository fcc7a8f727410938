import { parseIPv4, parseIPv6 } from '../../config/index.ts'

/** Ranges that are not the public Internet, from the IANA special-purpose address registries. */
const SPECIAL: readonly (readonly [range: string, what: string])[] = [
  ['0.0.0.0/8', 'this host'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'carrier-grade NAT'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local, cloud metadata'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'IETF protocol assignments'],
  ['192.0.2.0/24', 'documentation'],
  ['192.88.99.0/24', '6to4 relay'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved, broadcast'],
  ['::/128', 'this host'],
  ['::1/128', 'loopback'],
  ['64:ff9b:1::/48', 'local NAT64'],
  ['100::/64', 'discard'],
  ['2001::/23', 'IETF protocol assignments, Teredo'],
  ['2001:db8::/32', 'documentation'],
  ['3fff::/20', 'documentation'],
  ['5f00::/16', 'segment routing'],
  ['fc00::/7', 'private'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local'],
  ['ff00::/8', 'multicast'],
]

interface Range {
  readonly bytes: Uint8Array
  readonly prefix: number
  readonly what: string
}

const RANGES: readonly Range[] = SPECIAL.map(([range, what]) => {
  const [address, prefix] = range.split('/') as [string, string]
  return { bytes: addressBytes(address)!, prefix: Number(prefix), what }
})

/** The 4 or 16 bytes of an address, its zone id left out; undefined for what is none. */
export function addressBytes(address: string): Uint8Array | undefined {
  return parseIPv4(address) ?? parseIPv6(address.replace(/%.*$/, ''))
}

/** Whether the first `prefix` bits agree. */
export function inRange(bytes: Uint8Array, range: { readonly bytes: Uint8Array; readonly prefix: number }): boolean {
  if (bytes.length !== range.bytes.length) return false
  for (let bit = 0; bit < range.prefix; bit += 8) {
    const mask = range.prefix - bit >= 8 ? 0xff : 0xff << (8 - (range.prefix - bit))
    if (((bytes[bit >> 3]! ^ range.bytes[bit >> 3]!) & mask & 0xff) !== 0) return false
  }
  return true
}

const EMBEDDED: readonly { readonly bytes: Uint8Array; readonly prefix: number; readonly at: number }[] = [
  { bytes: parseIPv6('::ffff:0:0')!, prefix: 96, at: 12 }, // IPv4-mapped, RFC 4291 §2.5.5.2
  { bytes: parseIPv6('::ffff:0:0:0')!, prefix: 96, at: 12 }, // IPv4-translated, RFC 2765 §2.1
  { bytes: parseIPv6('::')!, prefix: 96, at: 12 }, // IPv4-compatible, RFC 4291 §2.5.5.1
  { bytes: parseIPv6('64:ff9b::')!, prefix: 96, at: 12 }, // NAT64, RFC 6052 §2.1
  { bytes: parseIPv6('2002::')!, prefix: 16, at: 2 }, // 6to4, RFC 3056 §2
]

/** The IPv4 address inside an IPv6 one, where packets to the latter end up at the former. */
export function embeddedIPv4(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== 16) return undefined
  const form = EMBEDDED.find((range) => inRange(bytes, range))
  return form === undefined ? undefined : bytes.subarray(form.at, form.at + 4)
}

/** What kind of special address this is, or undefined for a public one. */
export function specialKind(bytes: Uint8Array): string | undefined {
  const found = RANGES.find((range) => inRange(bytes, range))
  if (found !== undefined) return found.what
  const inner = embeddedIPv4(bytes)
  return inner === undefined ? undefined : specialKind(inner)
}
