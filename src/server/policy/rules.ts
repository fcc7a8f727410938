import type { HostPort } from '../../config/index.ts'
import type { Policy, Protocol, Verdict } from './policy.ts'
import type { ReversePolicy } from './reverse.ts'

/** What somebody may reach, and have listened on. */
export interface Rules {
  readonly policy: Policy
  readonly reverse: ReversePolicy
}

/** What a connection that is carried leads to: enough to ask again whether it may. */
export type Use =
  /** A target of the server's own: allowed where no rule forbids it. */
  | { readonly own: string }
  | { readonly named: string }
  | { readonly path: string }
  | { readonly target: HostPort; readonly protocol: Protocol; readonly address: string }

/** Whether what is used may be used, and which rule says so. */
export function verdictOf(policy: Policy, use: Use): Verdict {
  if ('own' in use) {
    const forbidden = policy.forbidsNamed(use.own)
    return { allowed: !forbidden, why: forbidden ? `a rule forbids @${use.own}` : 'the server itself answers' }
  }
  if ('named' in use) return policy.checkNamed(use.named)
  if ('path' in use) return policy.checkPath(use.path)
  return policy.checkAddress(use.target, use.address, use.protocol)
}

export function allows(policy: Policy, use: Use): boolean {
  return verdictOf(policy, use).allowed
}
