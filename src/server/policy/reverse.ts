import type { Rule } from '../../config/index.ts'
import type { Verdict } from './policy.ts'
import { addressBytes, inRange } from './special.ts'

/**
 * What clients may have listened on: the first rule that matches allows, and without any nothing is. `127.0.0.1:8000-8100`,
 * `*:2222` for every address, `/run/app.sock`. Port 0, a port of the system's choice, needs a rule for every port.
 */
export class ReversePolicy {
  readonly #rules: readonly Rule[]

  constructor(rules: readonly Rule[]) {
    this.#rules = rules
  }

  /** Whether these may be offered at all. */
  get open(): boolean {
    return this.#rules.length > 0
  }

  checkPort(host: string, port: number): Verdict {
    const bytes = addressBytes(host)
    const rule = this.#rules.find((candidate) => {
      const ports = candidate.ports.some(([first, last]) =>
        port === 0 ? first === 1 && last === 65_535 : port >= first && port <= last,
      )
      if (!ports || candidate.protocol !== 'tcp') return false
      if (candidate.host.kind === 'any') return true
      return candidate.host.kind === 'cidr' && bytes !== undefined && inRange(bytes, candidate.host)
    })
    return verdict(rule, `${host} port ${port}`)
  }

  checkPath(path: string): Verdict {
    return verdict(
      this.#rules.find(({ host }) => host.kind === 'path' && host.path === path),
      path,
    )
  }
}

function verdict(rule: Rule | undefined, what: string): Verdict {
  return rule
    ? { allowed: true, why: `rule ${rule.text}` }
    : { allowed: false, why: `no rule lets clients listen on ${what}` }
}
