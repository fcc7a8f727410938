import type { HostPort } from '../config/index.ts'
import { errnoOf, SluiceError } from '../errors/index.ts'
import { dial, type ReadMode, type SocketStream } from '../node/index.ts'
import { OPEN_ERRORS, OpenError } from '../wire/index.ts'
import type { Policy } from './policy/policy.ts'
import type { Resolver } from './resolve.ts'

/** A target that a request or a stream asks for. */
export interface Asked {
  readonly target: HostPort
  /** Whether the configuration names it, so that its address needs no rule. */
  readonly named: boolean
}

export interface DiallerOptions {
  readonly policy: Policy
  readonly resolve: Resolver
  /** Milliseconds until a target must have answered. */
  readonly timeout: number
  readonly signal: AbortSignal
  readonly readMode?: ReadMode
}

/** Resolves once, checks every address, dials only what was checked: the one way from a request to a target. */
export class Dialler {
  readonly #options: DiallerOptions

  constructor(options: DiallerOptions) {
    this.#options = options
  }

  /** @throws SluiceError `ERR_SLUICE_POLICY`, `ERR_SLUICE_TIMEOUT`; the system's error where the target cannot be reached */
  async dial({ target, named }: Asked): Promise<SocketStream> {
    const { policy, resolve, timeout, signal, readMode } = this.#options
    const addresses = await resolve(target.host)
    const verdicts = addresses.map((address) =>
      named ? { allowed: true, why: '' } : policy.checkAddress(target, address),
    )
    const allowed = addresses.filter((_, index) => verdicts[index]!.allowed)
    if (allowed.length === 0)
      throw new SluiceError('ERR_SLUICE_POLICY', verdicts[0]?.why ?? `${target.host} has no address`)
    return dial(allowed, target.port, { timeout, signal, ...(readMode === undefined ? {} : { readMode }) })
  }
}

const BY_ERRNO: ReadonlyMap<string, number> = new Map(
  Object.entries(OPEN_ERRORS)
    .filter(([, { errno }]) => errno !== 'EIO')
    .map(([code, { errno }]) => [errno, Number(code)]),
)

/** What OPEN_FAILED says of an error: its code, and a text that names what was asked for and no more. */
export function openError(error: unknown, name: string): { code: number; text: string } {
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
