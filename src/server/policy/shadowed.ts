import type { Rule } from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import { inRange } from './special.ts'

/**
 * Refuses rules that can never decide anything, because one before them always does: whoever wrote them meant something else.
 *
 * @param named the targets that rules can name
 * @throws SluiceError `ERR_SLUICE_CONFIG`
 */
export function checkShadowed(rules: readonly Rule[], named: ReadonlySet<string>): void {
  for (const [index, rule] of rules.entries()) {
    if (rule.host.kind === 'named' && !named.has(rule.host.name)) {
      throw new SluiceError('ERR_SLUICE_CONFIG', `rule ${rule.text} can never match: there is no such target`, {
        remedy: `Name it with --target ${rule.host.name}=HOST:PORT, or leave the rule out.`,
      })
    }
    const before = rules.slice(0, index).find((candidate) => covers(candidate, rule))
    if (before === undefined) continue
    throw new SluiceError(
      'ERR_SLUICE_CONFIG',
      `rule ${rule.text} can never match: ${before.text}, which is before it, matches all that it does`,
      { remedy: 'Leave it out, or put it first.' },
    )
  }
}

/** Whether whatever the second one would decide, the first one has decided already. */
function covers(first: Rule, second: Rule): boolean {
  const who = first.who === undefined || (second.who?.every((name) => first.who!.includes(name)) ?? false)
  const ports = second.ports.every(([from, to]) => first.ports.some(([low, high]) => low <= from && to <= high))
  return who && ports && first.protocol === second.protocol && hostCovers(first, second)
}

function hostCovers(first: Rule, second: Rule): boolean {
  const [one, other] = [first.host, second.host]
  // An allowing pattern leaves special addresses to rules after it; those would be denied anyway.
  const whole = first.deny || second.deny
  switch (one.kind) {
    case 'any':
      if (other.kind === 'name' || other.kind === 'cidr') return whole
      return other.kind === 'any' || other.kind === 'wildcard'
    case 'wildcard':
      if (other.kind === 'name')
        return whole && other.name.endsWith(one.suffix) && other.name.length > one.suffix.length
      return other.kind === 'wildcard' && other.suffix.endsWith(one.suffix)
    case 'name':
      return other.kind === 'name' && other.name === one.name
    case 'cidr':
      return other.kind === 'cidr' && other.prefix >= one.prefix && inRange(other.bytes, one)
    case 'named':
      return other.kind === 'named' && other.name === one.name
    case 'path':
      return other.kind === 'path' && other.path === one.path
  }
}
