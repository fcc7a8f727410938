import { asciiName, isName, parseIPv4, parseIPv6, parsePort, usage } from './address.ts'
import { isTargetName } from './forward.ts'

/** What a rule says about the host. */
export type HostPattern =
  /** Any name or address, as long as it is public. */
  | { readonly kind: 'any' }
  /** This very name, wherever it points. */
  | { readonly kind: 'name'; readonly name: string }
  /** Names below this one, as long as they point to public addresses. */
  | { readonly kind: 'wildcard'; readonly suffix: string }
  /** Addresses, wherever they are: the first `prefix` bits of the 4 or 16 bytes. */
  | { readonly kind: 'cidr'; readonly bytes: Uint8Array; readonly prefix: number }
  /** A unix socket at this very path. */
  | { readonly kind: 'path'; readonly path: string }
  /** A target of the configuration. */
  | { readonly kind: 'named'; readonly name: string }

/** A rule: who may reach what, or may not (docs/rules.md). */
export interface Rule {
  /** As it was written. */
  readonly text: string
  /** Whether what it matches is forbidden. */
  readonly deny: boolean
  /** Whom it is for: names and `group:NAME`, `*` at the end for any; undefined for everybody. */
  readonly who: readonly string[] | undefined
  readonly host: HostPattern
  readonly protocol: 'tcp' | 'udp'
  /** Inclusive ranges; empty for a named target, whose port is its own. */
  readonly ports: readonly (readonly [first: number, last: number])[]
}

const EXAMPLES =
  'Examples: db.corp:5432, *.corp:22, 10.0.0.0/8:*, [fd00::/8]:80-90,443, *:443, 1.1.1.1:53/udp, /run/db.sock, @web, !10.0.0.7:*, 10.0.0.0/8:22 for ann.'

/**
 * RULE = ["!"] (HOST ":" PORTS ["/udp"], "/" PATH or "@" NAME) [" for " WHO *("," WHO)]; see docs/rules.md for the grammar.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseRule(text: string): Rule {
  const what = `rule ${JSON.stringify(text)}`
  const [pattern = '', names, ...more] = text.split(/\s+for\s+/)
  if (more.length > 0) throw usage(`${what} says "for" twice`, EXAMPLES)
  const deny = pattern.startsWith('!')
  const about = { text, deny, who: names === undefined ? undefined : parseWho(names, what) }
  return { ...about, ...parseWhat(deny ? pattern.slice(1) : pattern, what) }
}

/** Names of principals, and of groups of theirs. */
export function parseWho(text: string, what: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim())
  const wrong = names.find((name) => !/^[\x21-\x7e]+$/.test(name) || /\*./.test(name))
  if (wrong === undefined) return names
  throw usage(`${what}: ${JSON.stringify(wrong)} is not a name, group:NAME, or the beginning of one with * after it`)
}

/** Whether somebody is among those that are named. */
export function isFor(
  who: readonly string[] | undefined,
  { name, groups = [] }: { readonly name: string; readonly groups?: readonly string[] },
): boolean {
  const all = [name, ...groups.map((group) => `group:${group}`)]
  return (
    who === undefined ||
    who.some((one) => (one.endsWith('*') ? all.some((is) => is.startsWith(one.slice(0, -1))) : all.includes(one)))
  )
}

function parseWhat(text: string, what: string): Pick<Rule, 'host' | 'protocol' | 'ports'> {
  if (text.startsWith('@')) {
    if (!isTargetName(text.slice(1)))
      throw usage(`${what}: the target's name has a character that is not allowed`, EXAMPLES)
    return { host: { kind: 'named', name: text.slice(1) }, protocol: 'tcp', ports: [] }
  }
  if (text.startsWith('/')) return { host: { kind: 'path', path: text }, protocol: 'tcp', ports: [] }
  const udp = text.endsWith('/udp')
  const match = /^(\[[^\]]*\]|[^:]+):([^:]+)$/.exec(udp ? text.slice(0, -4) : text)
  if (match === null) throw usage(`${what} is not HOST:PORTS`, EXAMPLES)
  return {
    host: parsePattern(match[1]!, what),
    protocol: udp ? 'udp' : 'tcp',
    ports: match[2]!.split(',').map((range) => parseRange(range, what)),
  }
}

/** A rule about what clients may have listened on. */
export interface ReverseRule extends Rule {
  /** Whether several clients may listen on the same address, and what comes there is given to one after another. */
  readonly shared: boolean
}

/**
 * `["shared:"] RULE`.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`
 */
export function parseReverseRule(text: string): ReverseRule {
  const shared = text.startsWith('shared:')
  return { ...parseRule(shared ? text.slice('shared:'.length) : text), text, shared }
}

function parsePattern(written: string, what: string): HostPattern {
  const text = written.startsWith('*.') ? `*.${asciiName(written.slice(2))}` : asciiName(written)
  if (text === '*') return { kind: 'any' }
  if (text.startsWith('*.') && isName(text.slice(2))) return { kind: 'wildcard', suffix: canonicalName(text.slice(1)) }
  const bracketed = /^\[(.*)\]$/.exec(text)?.[1]
  const [address, bits, ...more] = (bracketed ?? text).split('/')
  const bytes = bracketed === undefined ? parseIPv4(address!) : parseIPv6(address!)
  if (bytes !== undefined && more.length === 0) return { kind: 'cidr', bytes, prefix: parsePrefix(bits, bytes, what) }
  if (bracketed === undefined && bits === undefined && isName(text) && !/^[0-9.]+$/.test(text)) {
    return { kind: 'name', name: canonicalName(text) }
  }
  throw usage(`${what}: ${JSON.stringify(text)} is not a name, *.NAME, an address, a CIDR range or *`, EXAMPLES)
}

function parsePrefix(bits: string | undefined, bytes: Uint8Array, what: string): number {
  const most = bytes.length * 8
  if (bits === undefined) return most
  const prefix = /^[0-9]{1,3}$/.test(bits) ? Number(bits) : -1
  if (prefix < 0 || prefix > most)
    throw usage(`${what}: prefix length ${JSON.stringify(bits)} is not a number from 0 to ${most}`)
  for (let bit = prefix; bit < most; bit++) {
    if ((bytes[bit >> 3]! & (0x80 >> (bit & 7))) !== 0) {
      throw usage(
        `${what}: the address has bits beyond its prefix of ${prefix}`,
        'Write the first address of the range.',
      )
    }
  }
  return prefix
}

function parseRange(text: string, what: string): readonly [number, number] {
  if (text === '*') return [1, 65535]
  const [first, last, ...more] = text.split('-')
  const from = parsePort(first!, what)
  const to = last === undefined ? from : parsePort(last, what)
  if (more.length > 0 || to < from) throw usage(`${what}: ${JSON.stringify(text)} is not a port or a range like 80-90`)
  return [from, to]
}

/** A name as rules compare it: lower case, without the dot of the root. */
export function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}
