import { isFor, type ReverseRule, type Rule } from '../../config/index.ts'
import type { Principal } from '../auth/auth.ts'
import { Policy } from './policy.ts'
import { ReversePolicy } from './reverse.ts'
import type { Rules } from './rules.ts'

/** The rules of a server, from which each one's are taken. */
export class RuleSet {
  readonly #allow: readonly Rule[]
  readonly #reverse: readonly ReverseRule[]
  /** What holds for everybody, where no rule says for whom it is. */
  readonly #common: Rules | undefined
  readonly #of = new WeakMap<Principal, Rules>()

  constructor(allow: readonly Rule[], reverse: readonly ReverseRule[]) {
    this.#allow = allow
    this.#reverse = reverse
    const all = [...allow, ...reverse].every(({ who }) => who === undefined)
    this.#common = all ? { policy: new Policy(allow), reverse: new ReversePolicy(reverse) } : undefined
  }

  /** Those that are for somebody. */
  of(principal: Principal): Rules {
    if (this.#common !== undefined) return this.#common
    let rules = this.#of.get(principal)
    if (rules === undefined) {
      const theirs = <T extends Rule>(of: readonly T[]) => of.filter(({ who }) => isFor(who, principal))
      rules = {
        // Where there are rules, whoever has none may reach nothing.
        policy: new Policy(theirs(this.#allow), this.#allow.length === 0),
        reverse: new ReversePolicy(theirs(this.#reverse)),
      }
      this.#of.set(principal, rules)
    }
    return rules
  }
}
