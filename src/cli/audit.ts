import { closeSync, openSync, writeSync } from 'node:fs'
import { messageOf, SluiceError } from '../errors/index.ts'
import type { TunnelEvent } from '../server/index.ts'

/**
 * Who did what: one JSON object a line, in a file that only its owner can read (docs/operations.md has the fields). What a
 * peer chose is in strings alone; no credential is ever part of an event.
 */
export class AuditLog {
  readonly #file: string
  #descriptor: number

  /** @throws SluiceError `ERR_SLUICE_CONFIG` if it cannot be written */
  constructor(file: string) {
    this.#file = file
    this.#descriptor = this.#open()
  }

  write(event: TunnelEvent): void {
    writeSync(this.#descriptor, `${JSON.stringify({ time: new Date().toISOString(), ...recordOf(event) })}\n`)
  }

  /** Begins a new file where the old one has been moved away. */
  reopen(): void {
    const old = this.#descriptor
    this.#descriptor = this.#open()
    closeSync(old)
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #open(): number {
    try {
      return openSync(this.#file, 'a', 0o600)
    } catch (cause) {
      throw new SluiceError('ERR_SLUICE_CONFIG', `--audit-log: ${messageOf(cause)}`, { cause })
    }
  }
}

/** An event as the log has it. */
function recordOf(event: TunnelEvent): Readonly<Record<string, unknown>> {
  const { type, from } = event
  if (type === 'refused') return { event: type, from, status: event.status, reason: event.message }
  const who = { from, principal: event.principal }
  if (type === 'session') return { event: `session-${event.what}`, ...who, reason: event.detail }
  const what = { event: type, ...who, target: event.target }
  if (type === 'opened') return { ...what, rule: event.rule }
  if (type === 'failed') return { ...what, code: event.code, reason: event.detail }
  const { duration, bytesUp, bytesDown, how } = event.outcome
  return { ...what, bytesUp, bytesDown, milliseconds: Math.round(duration), outcome: how }
}
