import type { ReverseRule } from '../../config/index.ts'
import type { Protocol, Verdict } from './policy.ts'
import { addressBytes, inRange } from './special.ts'

/** Whether it may be listened on, and together with others. */
export interface ReverseVerdict extends Verdict {
  readonly shared: boolean
}

/**
 * What clients may have listened on: the first rule that matches decides, and without any nothing is. `127.0.0.1:8000-8100`,
 * `*:2222` for every address, `127.0.0.1:53/udp`, `/run/app.sock`; `shared:` before it. Port 0, a port of the system's choice, needs a rule for every port.
 */
export class ReversePolicy {
  readonly #rules: readonly ReverseRule[]

  constructor(rules: readonly ReverseRule[]) {
    this.#rules = rules
  }

  /** Whether these may be offered at all. */
  get open(): boolean {
    return this.#rules.some(({ deny }) => !deny)
  }

  /** The rules as they were written, in order. */
  get texts(): readonly string[] {
    return this.#rules.map(({ text }) => text)
  }

  checkPort(host: string, port: number, protocol: Protocol = 'tcp'): ReverseVerdict {
    const bytes = addressBytes(host)
    const rule = this.#rules.find((candidate) => {
      const ports = candidate.ports.some(([first, last]) =>
        // The system could choose any: one that is forbidden too.
        port === 0 ? candidate.deny || (first === 1 && last === 65_535) : port >= first && port <= last,
      )
      if (!ports || candidate.protocol !== protocol) return false
      if (candidate.host.kind === 'any') return true
      return candidate.host.kind === 'cidr' && bytes !== undefined && inRange(bytes, candidate.host)
    })
    return verdict(rule, `${host} port ${port}${protocol === 'udp' ? ' (UDP)' : ''}`)
  }

  checkPath(path: string): ReverseVerdict {
    return verdict(
      this.#rules.find(({ host }) => host.kind === 'path' && host.path === path),
      path,
    )
  }
}

function verdict(rule: ReverseRule | undefined, what: string): ReverseVerdict {
  return rule
    ? { allowed: !rule.deny, why: `rule ${rule.text}`, shared: rule.shared }
    : { allowed: false, why: `no rule lets clients listen on ${what}`, shared: false }
}
