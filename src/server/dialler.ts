import { formatHostPort, type HostPort } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { dial, type ReadMode, SocketStream } from '../node/index.ts'
import type { Policy, Protocol } from './policy/policy.ts'
import { headerFor } from './proxied.ts'
import type { Resolver } from './resolve.ts'

/** A target that a request or a stream asks for. */
export interface Asked {
  readonly target: HostPort
  /** Whether the configuration names it, so that its address needs no rule. */
  readonly named: boolean
}

export interface DiallerOptions {
  readonly resolve: Resolver
  /** Milliseconds until a target must have answered. */
  readonly timeout: number
  readonly signal: AbortSignal
  readonly readMode?: ReadMode
  /** Targets (`HOST:PORT`) that are told their client's address first, by which version of the PROXY protocol. */
  readonly tellClient?: ReadonlyMap<string, 1 | 2>
}

/** Resolves once, checks every address, dials only what was checked: the one way from a request to a target. */
export class Dialler {
  readonly #options: DiallerOptions

  constructor(options: DiallerOptions) {
    this.#options = options
  }

  /**
   * @param policy what whoever asks may reach
   * @param client who asked, for targets that want to know
   * @throws SluiceError `ERR_SLUICE_POLICY`, `ERR_SLUICE_TIMEOUT`; the system's error where the target cannot be reached
   */
  async dial(asked: Asked, policy: Policy, client: HostPort): Promise<SocketStream> {
    const { timeout, signal, readMode, tellClient } = this.#options
    const allowed = await this.addresses(asked, policy, 'tcp')
    const options = { timeout, signal, ...(readMode === undefined ? {} : { readMode }) }
    const stream = await dial(allowed, asked.target.port, options)
    const version = tellClient?.get(formatHostPort(asked.target))
    if (version !== undefined) stream.write(headerFor(version, client, stream.socket))
    return stream
  }

  /**
   * The addresses of a target that may be dialled.
   *
   * @throws SluiceError `ERR_SLUICE_POLICY` if there is none; the system's error where the name cannot be resolved
   */
  async addresses({ target, named }: Asked, policy: Policy, protocol: Protocol): Promise<readonly string[]> {
    const { resolve } = this.#options
    const addresses = await resolve(target.host)
    const verdicts = addresses.map((address) =>
      named ? { allowed: true, why: '' } : policy.checkAddress(target, address, protocol),
    )
    const allowed = addresses.filter((_, index) => verdicts[index]!.allowed)
    if (allowed.length > 0) return allowed
    throw new SluiceError('ERR_SLUICE_POLICY', verdicts[0]?.why ?? `${target.host} has no address`)
  }

  /** @throws SluiceError `ERR_SLUICE_POLICY`; the system's error where it cannot be reached */
  dialPath(path: string, policy: Policy): Promise<SocketStream> {
    const { readMode } = this.#options
    const verdict = policy.checkPath(path)
    if (!verdict.allowed) return Promise.reject(new SluiceError('ERR_SLUICE_POLICY', verdict.why))
    const stream = SocketStream.connect({ path }, readMode)
    return new Promise((resolve, reject) => {
      stream.socket.once('connect', () => resolve(stream))
      stream.socket.once('error', reject)
    })
  }
}
