import type net from 'node:net'
import { SluiceError } from '../errors/index.ts'
import type { ReadMode } from './adopt.ts'
import { SocketStream } from './socket.ts'

/** The delay before the next address is tried beside one that has not answered (RFC 8305 §5). */
const ATTEMPT_DELAY = 250
/** How often TCP itself asks whether an idle peer is still there, in milliseconds. */
export const TCP_KEEPALIVE = 60_000

export interface DialOptions {
  /** In milliseconds, for all addresses together. */
  readonly timeout: number
  readonly signal?: AbortSignal
  readonly readMode?: ReadMode
}

/** Options that every TCP connection of ours gets: small packets leave at once. */
export const TCP_OPTIONS: { readonly noDelay: true; readonly keepAlive: true; readonly keepAliveInitialDelay: number } =
  {
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEPALIVE,
  }

/**
 * Connects to the first of these addresses that answers, each one tried a little after the one before it.
 *
 * @throws the error of the last address to fail, or SluiceError `ERR_SLUICE_TIMEOUT`
 */
export function dial(addresses: readonly string[], port: number, options: DialOptions): Promise<SocketStream> {
  return new Promise((resolve, reject) => {
    const attempts = new Set<SocketStream>()
    const rest = [...addresses]
    let next: NodeJS.Timeout | undefined
    const settle = (winner: SocketStream | undefined, error?: Error) => {
      clearTimeout(limit)
      clearTimeout(next)
      options.signal?.removeEventListener('abort', abort)
      for (const attempt of attempts) if (attempt !== winner) attempt.destroy()
      attempts.clear()
      if (winner) resolve(winner)
      else reject(error)
    }
    const abort = () => settle(undefined, options.signal?.reason as Error)
    const limit = setTimeout(() => {
      settle(undefined, new SluiceError('ERR_SLUICE_TIMEOUT', `no answer within ${options.timeout / 1000} s`))
    }, options.timeout)
    const attemptNext = () => {
      clearTimeout(next)
      const host = rest.shift()
      if (host === undefined) return
      const attempt = SocketStream.connect({ host, port, ...TCP_OPTIONS } as net.TcpNetConnectOpts, options.readMode)
      attempts.add(attempt)
      attempt.socket.once('connect', () => attempts.has(attempt) && settle(attempt))
      attempt.socket.once('error', (error) => {
        if (!attempts.delete(attempt)) return
        if (rest.length > 0) attemptNext()
        else if (attempts.size === 0) settle(undefined, error)
      })
      if (rest.length > 0) next = setTimeout(attemptNext, ATTEMPT_DELAY)
    }
    if (options.signal?.aborted) return abort()
    options.signal?.addEventListener('abort', abort)
    attemptNext()
  })
}
