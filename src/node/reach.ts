import net from 'node:net'
import tls from 'node:tls'
import type { ServerUrl } from '../config/index.ts'
import { SluiceError } from '../errors/index.ts'
import { TCP_OPTIONS } from './dial.ts'
import { OPEN_TIMEOUT, type OpenOptions, tlsOptions, unreachable } from './open.ts'
import { connectThrough } from './outward.ts'
import { checkPeer } from './tls.ts'

/**
 * A plain socket to a server, through the proxy if there is one, with TLS if its URL says so, and with its key checked.
 *
 * @param protocol what is asked for by ALPN, and must be agreed to
 * @throws SluiceError `ERR_SLUICE_UNREACHABLE`, `ERR_SLUICE_TIMEOUT`, `ERR_SLUICE_TLS`, and those of the proxy
 */
export async function reachServer(
  url: ServerUrl,
  options: OpenOptions,
  protocol: 'h2' | 'http/1.1',
): Promise<net.Socket> {
  const { timeout = OPEN_TIMEOUT, proxy } = options
  const started = performance.now()
  const to = { host: url.host, port: url.port }
  const under = proxy === undefined ? undefined : await connectThrough(proxy, to, { ...options, timeout })
  const left = Math.max(1, timeout - (performance.now() - started))
  const trust = { ...tlsOptions(url, options), ALPNProtocols: [protocol] }
  const over = under === undefined ? { ...to, ...TCP_OPTIONS } : { socket: under }
  const socket = url.secure ? tls.connect({ ...over, ...trust }) : (under ?? net.connect({ ...to, ...TCP_OPTIONS }))
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(limit)
      options.signal?.removeEventListener('abort', abort)
      socket.off('error', fail)
      act()
    }
    const fail = (error: Error) =>
      settle(() => {
        socket.on('error', () => {})
        socket.destroy()
        reject(unreachable(url, error))
      })
    const abort = () => fail(options.signal?.reason as Error)
    const limit = setTimeout(() => fail(tooSlow(url, timeout)), left)
    options.signal?.addEventListener('abort', abort)
    if (options.signal?.aborted) return abort()
    socket.on('error', fail)
    const connected = () => {
      try {
        if (socket instanceof tls.TLSSocket) {
          checkPeer(socket, options)
          if (protocol === 'h2' && socket.alpnProtocol !== 'h2') throw noHttp2(url)
        }
        settle(() => resolve(socket))
      } catch (error) {
        fail(error as Error)
      }
    }
    // What came through a proxy was paused; the server says nothing before it is asked.
    if (!url.secure) under?.resume()
    if (!url.secure && !socket.connecting) connected()
    else socket.once(url.secure ? 'secureConnect' : 'connect', connected)
  })
}

function noHttp2({ authority }: ServerUrl): SluiceError {
  return new SluiceError('ERR_SLUICE_REFUSED', `${authority} has no HTTP/2`, {
    remedy: 'Leave --transport out, or give another.',
  })
}

function tooSlow({ authority }: ServerUrl, timeout: number): SluiceError {
  return new SluiceError('ERR_SLUICE_TIMEOUT', `${authority} does not answer within ${timeout / 1000} s`)
}
