import { PARAMETER_DEFAULTS, Parameter } from './registry.ts'
import { malformed } from './violation.ts'

/** What an endpoint says of itself in HELLO; see spec/registry.md for units and defaults. */
export type Parameters = { readonly [Name in keyof typeof PARAMETER_DEFAULTS]: number }

export const PARAMETER_NAMES: readonly (keyof Parameters)[] = Object.keys(Parameter) as (keyof Parameters)[]

const LEAST: Partial<Record<keyof Parameters, number>> = { max_message: 4096, ack_bytes: 1, max_carriers: 1 }
const MOST: Partial<Record<keyof Parameters, number>> = { ack_delay: 1000 }

/** The parameters that hold when a HELLO says these. */
export function withDefaults(said: Partial<Parameters>): Parameters {
  return { ...PARAMETER_DEFAULTS, ...said }
}

/** @throws Violation MALFORMED for a value outside of its range (spec §4) */
export function checkParameter(name: keyof Parameters, value: number): void {
  if (value < (LEAST[name] ?? 0)) throw malformed(`HELLO: ${name} is ${value} (at least ${LEAST[name]})`)
  if (value > (MOST[name] ?? value)) throw malformed(`HELLO: ${name} is ${value} (at most ${MOST[name]})`)
}
