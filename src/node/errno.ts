import { errnoOf, SluiceError } from '../errors/index.ts'
import { OPEN_ERRORS, OpenError } from '../wire/index.ts'

const BY_ERRNO: ReadonlyMap<string, number> = new Map(
  Object.entries(OPEN_ERRORS)
    .filter(([, { errno }]) => errno !== 'EIO')
    .map(([code, { errno }]) => [errno, Number(code)]),
)

/** What OPEN_FAILED says of an error: its code, and a text that names what was asked for and no more. */
export function errnoCode(error: unknown, name: string): { code: number; text: string } {
  const answer = (code: number) => ({ code, text: `${OPEN_ERRORS[code]!.errno} ${name}` })
  if (error instanceof SluiceError) {
    if (error.code === 'ERR_SLUICE_POLICY') return { code: OpenError.NOT_ALLOWED, text: 'POLICY' }
    if (error.code === 'ERR_SLUICE_TIMEOUT') return answer(OpenError.TIMED_OUT)
    if (error.code === 'ERR_SLUICE_CLOSED') return answer(OpenError.GOING_AWAY)
  }
  const errno = errnoOf(error)
  if (errno === 'EAI_AGAIN') return answer(OpenError.NAME_NOT_FOUND)
  const code = BY_ERRNO.get(errno) ?? OpenError.GENERAL
  return { code, text: `${errno} ${name}` }
}
