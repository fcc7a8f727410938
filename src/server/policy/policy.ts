import { canonicalName, formatHostPort, type HostPort, type Rule } from '../../config/index.ts'
import { addressBytes, embeddedIPv4, inRange, specialKind } from './special.ts'

/** What a target is spoken to by. */
export type Protocol = 'tcp' | 'udp'

/** What a policy says, and why. */
export interface Verdict {
  readonly allowed: boolean
  /** The rule that decided, or why none did; for the operator's log, never for the peer. */
  readonly why: string
}

const PUBLIC_ONLY = 'no rules: public addresses only'

/**
 * Who may reach what: the first rule that matches decides, and what none matches is denied. Without any rule, public
 * addresses are allowed. Special addresses (loopback, private, link-local, metadata, …) are reached only where an exact
 * name, an address, a CIDR range or a named target says so; `*` and `*.NAME` never reach them, but deny them.
 */
export class Policy {
  readonly #rules: readonly Rule[]
  readonly #open: boolean

  /** @param open whether public addresses are allowed without a rule: by default where there is no rule at all */
  constructor(rules: readonly Rule[], open: boolean = rules.length === 0) {
    this.#rules = rules
    this.#open = open
  }

  /** Whether a target of the configuration may be used: by a rule, or because there are no rules. */
  checkNamed(name: string): Verdict {
    if (this.#open) return { allowed: true, why: 'a target of the configuration' }
    return verdictOf(
      this.#rules.find(({ host }) => host.kind === 'named' && host.name === name),
      `no rule names @${name}`,
    )
  }

  /** Whether a rule forbids it, rather than none allowing it: what is allowed without one. */
  forbidsNamed(name: string): boolean {
    return this.#rules.find(({ host }) => host.kind === 'named' && host.name === name)?.deny ?? false
  }

  /** The rules as they were written, in order; what is allowed without any in words. */
  get texts(): readonly string[] {
    return this.#open ? ['public addresses'] : this.#rules.map(({ text }) => text)
  }

  /** Whether the unix socket at this path may be used: only where a rule names it. */
  checkPath(path: string): Verdict {
    return verdictOf(
      this.#rules.find(({ host }) => host.kind === 'path' && host.path === path),
      `no rule names ${path}`,
    )
  }

  /**
   * What can be said before the name is resolved: a denial is final, anything else must be followed by
   * {@link checkAddress} for each address.
   */
  checkTarget(target: HostPort, protocol: Protocol = 'tcp'): Verdict {
    if (addressBytes(target.host) !== undefined) return this.checkAddress(target, target.host, protocol)
    if (this.#open) return { allowed: true, why: PUBLIC_ONLY }
    // Whether an address range denies is known only when the address is.
    const rule = this.#rules.find(
      (candidate) => couldMatch(candidate, target, protocol) && !(candidate.deny && candidate.host.kind === 'cidr'),
    )
    if (rule === undefined || rule.deny) return verdictOf(rule, denial(target))
    return { allowed: true, why: `rule ${rule.text} may match` }
  }

  /** Whether this address, to which the target's host has been resolved, may be dialled. */
  checkAddress(target: HostPort, address: string, protocol: Protocol = 'tcp'): Verdict {
    const bytes = addressBytes(address)
    if (bytes === undefined) return { allowed: false, why: `${address} is not an address` }
    const special = specialKind(bytes)
    if (this.#open) {
      return special === undefined
        ? { allowed: true, why: PUBLIC_ONLY }
        : { allowed: false, why: `${address} is ${special}; no rule names it` }
    }
    const rule = this.#rules.find((candidate) => matches(candidate, target, bytes, special !== undefined, protocol))
    return verdictOf(rule, special === undefined ? denial(target) : `${denial(target)}; ${address} is ${special}`)
  }
}

function verdictOf(rule: Rule | undefined, otherwise: string): Verdict {
  return rule === undefined ? { allowed: false, why: otherwise } : { allowed: !rule.deny, why: `rule ${rule.text}` }
}

function denial(target: HostPort): string {
  return `no rule allows ${formatHostPort(target)}`
}

function portMatches(rule: Rule, port: number): boolean {
  return rule.ports.some(([first, last]) => port >= first && port <= last)
}

/** Whether the rule could match a name that is not resolved yet. */
function couldMatch(rule: Rule, target: HostPort, protocol: Protocol): boolean {
  if (rule.protocol !== protocol || !portMatches(rule, target.port)) return false
  return rule.host.kind === 'any' || rule.host.kind === 'cidr' || nameMatches(rule, target.host)
}

function nameMatches(rule: Rule, host: string): boolean {
  const name = canonicalName(host)
  if (rule.host.kind === 'name') return rule.host.name === name
  return rule.host.kind === 'wildcard' && name.endsWith(rule.host.suffix) && name.length > rule.host.suffix.length
}

function matches(rule: Rule, target: HostPort, bytes: Uint8Array, special: boolean, protocol: Protocol): boolean {
  if (rule.protocol !== protocol || !portMatches(rule, target.port)) return false
  switch (rule.host.kind) {
    case 'name':
      return nameMatches(rule, target.host)
    case 'wildcard':
      return (rule.deny || !special) && nameMatches(rule, target.host)
    case 'any':
      return rule.deny || !special
    case 'cidr':
      return inRange(bytes, rule.host) || inRange(embeddedIPv4(bytes) ?? bytes, rule.host)
    case 'named':
    case 'path':
      return false
  }
}
