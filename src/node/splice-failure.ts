import { SluiceError } from '../errors/index.ts'
import { OPEN_ERRORS, OpenError, ResetCode } from '../wire/index.ts'
import type { SpliceOutcome } from './splice.ts'

/** What a connection's end means: undefined if all went well, or if the local program broke it off. */
export function spliceFailure({ error }: SpliceOutcome, name: string): SluiceError | undefined {
  if (error === undefined || error.from === 'tcp' || error.from === 'here') return undefined
  if (error.from === 'open') return openFailure(error.code, error.text, name)
  if (error.code === ResetCode.POLICY) {
    return new SluiceError('ERR_SLUICE_POLICY', `the server does not allow ${name} any more`)
  }
  if (error.code === ResetCode.SESSION_LOST) {
    return new SluiceError('ERR_SLUICE_GONE', `the connection to ${name} was lost with the session: ${error.text}`)
  }
  return new SluiceError('ERR_SLUICE_TARGET', `${name} reset the connection`)
}

/** OPEN_FAILED in words. */
export function openFailure(code: number, text: string, name: string): SluiceError {
  const facts = OPEN_ERRORS[code] ?? OPEN_ERRORS[OpenError.GENERAL]!
  const reason = printable(text) || facts.errno
  if (code === OpenError.NOT_ALLOWED) {
    return new SluiceError('ERR_SLUICE_POLICY', `the server does not allow ${name}: ${reason}`, {
      remedy: `On the server, allow it: --allow ${name}`,
    })
  }
  return new SluiceError('ERR_SLUICE_TARGET', `the server could not reach ${name}: ${reason}`)
}

/** What a peer sent, safe to print. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
