import { FAULTS, type Fault, type SluiceErrorCode } from './codes.ts'

/** Facts that some codes carry beside the message. */
export interface SluiceErrorFacts {
  /** What caused it, if something else did. */
  cause?: unknown
  /** What to do about it, as a sentence; printed on a line of its own. */
  remedy?: string
  /** The HTTP status that was received, or that the peer is to be sent. */
  status?: number
  /** The WebSocket close code (RFC 6455 §7.4) that was received, or that the peer is to be sent. */
  closeCode?: number
}

/**
 * Every error that sluice raises. Tell them apart by `code`, which is stable, and never by the message.
 *
 * @example
 * if (error instanceof SluiceError && error.code === 'ERR_SLUICE_AUTH') askForAToken()
 */
export class SluiceError extends Error {
  override readonly name: string = 'SluiceError'
  readonly code: SluiceErrorCode
  readonly remedy: string | undefined
  readonly status: number | undefined
  readonly closeCode: number | undefined

  constructor(code: SluiceErrorCode, message: string, facts: SluiceErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.remedy = facts.remedy
    this.status = facts.status
    this.closeCode = facts.closeCode
  }

  /** Who is to act: see {@link FAULTS}. */
  get fault(): Fault {
    return FAULTS[this.code]
  }
}

/** The code of an operating system error (`ECONNREFUSED`), or the error's name. */
export function errnoOf(error: unknown): string {
  if (typeof error === 'object' && error !== null) {
    const { code, name } = error as { code?: unknown; name?: unknown }
    if (typeof code === 'string') return code
    if (typeof name === 'string') return name
  }
  return 'UNKNOWN'
}

/** The first reason, where all addresses of a name failed: it says it best. */
export function firstReason(error: Error): Error {
  return error instanceof AggregateError ? ((error.errors[0] as Error | undefined) ?? error) : error
}

/** What a person reads of an error: its message, and never an empty line. */
export function messageOf(error: unknown): string {
  if (error instanceof Error && error.message !== '') return error.message
  return error instanceof Error ? errnoOf(error) : String(error)
}

/** What to do about a 401 of a server. */
export const CREDENTIALS_REMEDY =
  'Give what it knows you by: --token-file FILE (or SLUICE_TOKEN), --login-file FILE, or --cert and --key.'
