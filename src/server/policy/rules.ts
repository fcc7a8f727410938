import type { HostPort } from '../../config/index.ts'
import type { Policy, Protocol } from './policy.ts'
import type { ReversePolicy } from './reverse.ts'

/** What somebody may reach, and have listened on. */
export interface Rules {
  readonly policy: Policy
  readonly reverse: ReversePolicy
}

/** What a connection that is carried leads to: enough to ask again whether it may. */
export type Use =
  | { readonly named: string }
  | { readonly path: string }
  | { readonly target: HostPort; readonly protocol: Protocol; readonly address: string }

/** Whether what is used may be used. */
export function allows(policy: Policy, use: Use): boolean {
  if ('named' in use) return policy.checkNamed(use.named).allowed
  if ('path' in use) return policy.checkPath(use.path).allowed
  return policy.checkAddress(use.target, use.address, use.protocol).allowed
}
