import { CloseReason } from './registry.ts'

/** The name of a CLOSE code; an unknown one is taken as INTERNAL (spec §11). */
export function closeReasonName(code: number): keyof typeof CloseReason {
  for (const [name, number] of Object.entries(CloseReason)) if (number === code) return name as keyof typeof CloseReason
  return 'INTERNAL'
}

/** The peer broke a rule of spec/sluice-1.md; `reason` is what it is told in CLOSE, `message` what and how. */
export class Violation extends Error {
  override readonly name: string = 'Violation'
  readonly reason: CloseReason

  constructor(reason: CloseReason, message: string) {
    super(message)
    this.reason = reason
  }
}

export function malformed(message: string): Violation {
  return new Violation(CloseReason.MALFORMED, message)
}
